"""Privacy defenses, one file each."""

from dpbench.defenses.adversarial_regularisation import (
    AdversarialRegularisation as AdversarialRegularisation,
)
from dpbench.defenses.augmentation import Augmentation as Augmentation
from dpbench.defenses.base import Defense as Defense
from dpbench.defenses.base import Serving as Serving
from dpbench.defenses.ccl import ConvexConcaveLoss as ConvexConcaveLoss
from dpbench.defenses.composition import Composition as Composition
from dpbench.defenses.confidence_penalty import ConfidencePenalty as ConfidencePenalty
from dpbench.defenses.distillation import Distillation as Distillation
from dpbench.defenses.dmp import Dmp as Dmp
from dpbench.defenses.dp_sgd import DpSgd as DpSgd
from dpbench.defenses.dropout import Dropout as Dropout
from dpbench.defenses.early_stopping import EarlyStopping as EarlyStopping
from dpbench.defenses.hamp import Hamp as Hamp
from dpbench.defenses.hamp_output import HampOutput as HampOutput
from dpbench.defenses.l1 import L1 as L1
from dpbench.defenses.l2 import L2 as L2
from dpbench.defenses.label_dp import LabelDp as LabelDp
from dpbench.defenses.label_only import LabelOnly as LabelOnly
from dpbench.defenses.label_smoothing import LabelSmoothing as LabelSmoothing
from dpbench.defenses.memguard import MemGuard as MemGuard
from dpbench.defenses.mixup import Mixup as Mixup
from dpbench.defenses.mixup_mmd import MixupMmd as MixupMmd
from dpbench.defenses.noise import Noise as Noise
from dpbench.defenses.none import Undefended as Undefended
from dpbench.defenses.objective_perturbation import ObjectivePerturbation as ObjectivePerturbation
from dpbench.defenses.output_perturbation import OutputPerturbation as OutputPerturbation
from dpbench.defenses.own_recipe import OwnRecipe as OwnRecipe
from dpbench.defenses.pate import Pate as Pate
from dpbench.defenses.purification import Purification as Purification
from dpbench.defenses.relaxloss import RelaxLoss as RelaxLoss
from dpbench.defenses.rounding import Rounding as Rounding
from dpbench.defenses.scattering import Scattering as Scattering
from dpbench.defenses.selena import Selena as Selena
from dpbench.defenses.short_training import ShortTraining as ShortTraining
from dpbench.defenses.temperature import Temperature as Temperature
from dpbench.defenses.top_k import TopK as TopK
from dpbench.defenses.transfer import Transfer as Transfer
