"""What holds for all tests."""

import os

from hypothesis import settings

# A change must not fail on a case that has nothing to do with it: new examples are
# looked for where somebody can look into them.
settings.register_profile("ci", derandomize=True, deadline=None)
if "CI" in os.environ:
    settings.load_profile("ci")
