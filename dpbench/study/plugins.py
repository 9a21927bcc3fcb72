"""Running the user's own component files, which register defenses and attacks."""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from dpbench.errors import UserError


def load_plugins(files: Iterable[str]) -> None:
    """Imports each file once; what it registers becomes available to grids.

    A plugin is the user's own code with all the user's rights: only files that the user names run.

    Raises:
        UserError: A file is missing or fails while it is imported.
    """
    for name in files:
        path = Path(name)
        if not os.path.isfile(path):  # False for a name too long for any file, too
            raise UserError(f"plugin {path}: no such file", next_step="check --plugin and plugins:")
        digest = hashlib.blake2b(str(path.resolve()).encode(), digest_size=6).hexdigest()
        module_name = f"dpbench_plugin_{digest}"
        if module_name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise UserError(f"plugin {path}: not a Python file", allowed="a file that ends in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except UserError:
            del sys.modules[module_name]
            raise
        except Exception as error:
            del sys.modules[module_name]
            raise UserError(
                f"plugin {path}: {type(error).__name__}: {error}",
                next_step=f"run python {path} to see where",
            ) from error
