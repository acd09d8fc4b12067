# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end tests are written with: QEMUs, gcctl, guests that check themselves."""
