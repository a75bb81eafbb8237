# SPDX-License-Identifier: Apache-2.0
"""How moments are written on pages that do not say it themselves."""
