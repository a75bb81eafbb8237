# SPDX-License-Identifier: Apache-2.0
"""The floor: the least that the same work costs, by PostgreSQL alone (`statement`) and behind DRF (`views`)."""
