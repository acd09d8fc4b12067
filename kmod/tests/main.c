// SPDX-License-Identifier: GPL-2.0-only
/* guidecopy-kunit.ko contains the engine, and runs its suites when it is loaded. */
#include <linux/module.h>

#include "suites.h"

kunit_test_suites(&gc_pageset_suite, &gc_ring_suite, &gc_session_suite, &gc_ranges_suite,
		  &gc_track_suite, &gc_ioctl_suite);

MODULE_DESCRIPTION("KUnit suites of guidecopy");
MODULE_LICENSE("GPL");
