/* SPDX-License-Identifier: GPL-2.0-only */
/* The engine's KUnit suites, one per source file. */
#ifndef GC_SUITES_H
#define GC_SUITES_H

#include <linux/sched/signal.h>

#include <kunit/test.h>

extern struct kunit_suite gc_pageset_suite;
extern struct kunit_suite gc_ring_suite;
extern struct kunit_suite gc_session_suite;
extern struct kunit_suite gc_ranges_suite;
extern struct kunit_suite gc_track_suite;
extern struct kunit_suite gc_ioctl_suite;

/* Makes fatal_signal_pending() true for the test's thread, or false again. */
static inline void gc_kunit_kill(bool killed)
{
	if (killed) {
		sigaddset(&current->pending.signal, SIGKILL);
		set_thread_flag(TIF_SIGPENDING);
	} else {
		sigdelset(&current->pending.signal, SIGKILL);
		clear_thread_flag(TIF_SIGPENDING);
	}
}

#endif /* GC_SUITES_H */
