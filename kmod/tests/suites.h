/* SPDX-License-Identifier: GPL-2.0-only */
/* The engine's KUnit suites, one per source file. */
#ifndef GC_SUITES_H
#define GC_SUITES_H

#include <kunit/test.h>

extern struct kunit_suite gc_pageset_suite;
extern struct kunit_suite gc_ring_suite;
extern struct kunit_suite gc_session_suite;
extern struct kunit_suite gc_ranges_suite;
extern struct kunit_suite gc_track_suite;
extern struct kunit_suite gc_ioctl_suite;

#endif /* GC_SUITES_H */
