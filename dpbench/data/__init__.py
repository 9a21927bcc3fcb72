"""Data: data sets by name, and the population that a grid plays the membership game on."""

from dpbench.data.adult import Adult as Adult
from dpbench.data.base import Dataset as Dataset
from dpbench.data.base import RawData as RawData
from dpbench.data.canaries import Canaries as Canaries
from dpbench.data.cifar import Cifar10 as Cifar10
from dpbench.data.cifar import Cifar100 as Cifar100
from dpbench.data.fashion_mnist import FashionMnist as FashionMnist
from dpbench.data.fashion_mnist import FashionMnistFull as FashionMnistFull
from dpbench.data.fetch import download as download
from dpbench.data.german_credit import GermanCredit as GermanCredit
from dpbench.data.letter import Letter as Letter
from dpbench.data.mnist import Mnist as Mnist
from dpbench.data.pima import Pima as Pima
from dpbench.data.population import Population as Population
from dpbench.data.population import PopulationSpec as PopulationSpec
from dpbench.data.population import load_population as load_population
from dpbench.data.population import membership as membership
from dpbench.data.scikit_learn import BreastCancer as BreastCancer
from dpbench.data.scikit_learn import Digits as Digits
from dpbench.data.shokri import Location as Location
from dpbench.data.shokri import Purchase100 as Purchase100
from dpbench.data.shokri import Texas100 as Texas100
from dpbench.data.user_file import File as File
