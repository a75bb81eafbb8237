# SPDX-License-Identifier: Apache-2.0
"""Day before month in letters, 24 hours, and the zone: read alike on both sides of the ocean."""

DATE_FORMAT = SHORT_DATE_FORMAT = "j M Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = "j M Y, H:i T"
