"""Where the formatter of numbers was: see `hepacast.core.formatting`."""

from __future__ import annotations

from hepacast.core.formatting import EN_DASH as EN_DASH
from hepacast.core.formatting import MINUS as MINUS
from hepacast.core.formatting import MISSING as MISSING
from hepacast.core.formatting import capital as capital
from hepacast.core.formatting import count_percent as count_percent
from hepacast.core.formatting import decimals_for as decimals_for
from hepacast.core.formatting import listing as listing
from hepacast.core.formatting import number as number
from hepacast.core.formatting import p_sentence as p_sentence
from hepacast.core.formatting import p_value as p_value
from hepacast.core.formatting import percent as percent
from hepacast.core.formatting import percent_with_interval as percent_with_interval
from hepacast.core.formatting import plural as plural
from hepacast.core.formatting import ratio as ratio
from hepacast.core.formatting import ratio_with_interval as ratio_with_interval
from hepacast.core.formatting import short as short
from hepacast.core.formatting import significant as significant
from hepacast.core.formatting import with_interval as with_interval
