# SPDX-License-Identifier: Apache-2.0
"""Peers on `permit3`: programs of their own, run by environments of their own, never by the project's."""
