"""`python -m bench`: measure everything, or what is named; write bench/results, print tables."""

import argparse
import importlib
import pkgutil
import sys
import time
from types import ModuleType

import bench
from bench.figures import table, this_machine, write


def benches() -> dict[str, ModuleType]:
    """Every module of bench/ that has a NAME and a run(), by that name."""
    found = {}
    for each in pkgutil.iter_modules(bench.__path__):
        if each.name == "__main__":
            continue
        try:
            module = importlib.import_module(f"bench.{each.name}")
        except ImportError as error:  # an extra that is not installed
            print(f"{each.name} is left out: {error}", file=sys.stderr)
            continue
        if hasattr(module, "NAME") and hasattr(module, "run"):
            found[module.NAME] = module
    return found


def main() -> int:
    known = benches()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args().names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    failed = []
    for name in names:
        machine, started = this_machine(), time.monotonic()
        print(f"\n{name}: measuring (load {machine.load})", file=sys.stderr)
        try:
            figures = known[name].run()
        except Exception as error:
            # What cannot be measured on this machine must not hide what can.
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            failed.append(name)
            continue
        path = write(name, machine, figures)
        print(f"\n{name} ({time.monotonic() - started:.0f} s, {machine.commit}) → {path.name}")
        print(table(figures), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
