# SPDX-License-Identifier: Apache-2.0
"""Who may do what, declared: every address there is, and for whom each act at it takes effect.

An address without a row fails a test, and so does a row whose act succeeds for anybody not named in it, or fails for
somebody who is. `to` names the callers for whom something in the database changes; nothing changes for all others.
"""

from tests.contract.rows import Act as Act
from tests.contract.rows import Row as Row
from tests.contract.table_api import API
from tests.contract.table_pages import PAGES

TABLE = [*API, *PAGES]
