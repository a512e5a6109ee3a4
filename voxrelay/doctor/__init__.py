"""`voxrelay doctor`: looks at everything a relay leans on, and says what to do about each trouble.

Knows which parts there are to look at. Looks and asks, and changes nothing; refuses to mend.
"""

from voxrelay.doctor.examine import examine
from voxrelay.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
