"""How hypothesis runs against a planted fault: the same examples each time, and no shrinking.

A plugin of pytest, loaded before tests/conftest.py, which takes the profile that
HYPOTHESIS_PROFILE names. That a fault is found matters, not how small the example is: shrinking
would take minutes.
"""

from typing import Final

import hypothesis
from hypothesis import Phase

PROFILE: Final = "planted"

hypothesis.settings.register_profile(
    PROFILE,
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
