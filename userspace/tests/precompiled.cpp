// SPDX-License-Identifier: GPL-2.0-or-later
// Nothing: the target that the tests' precompiled header belongs to needs a source.
