# SPDX-License-Identifier: Apache-2.0
"""Measured work: one command for each case, held against a floor or a peer of the same run (see README.md)."""
