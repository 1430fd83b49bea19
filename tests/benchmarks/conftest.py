"""The benchmarks import each other by bare name, as scripts that stand beside each other."""

import sys

from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
