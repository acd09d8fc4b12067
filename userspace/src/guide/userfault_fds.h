/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors of a guide that captures by userfaultfd. For C and C++. */
#pragma once

#define GC_USERFAULT_SHIM_FD 8
#define GC_USERFAULT_DEVICE_FD 9
