/* SPDX-License-Identifier: GPL-2.0-only */
/* The object behind an open control file: a session with its node (node.c) or a track (track.c). */
#ifndef GC_CAPTURE_H
#define GC_CAPTURE_H

#include <linux/err.h>
#include <linux/errno.h>

#include "session.h"

struct gc_capture;

struct gc_capture_ops {
	/* The caller has checked the range with gc_capture_check(). */
	int (*rearm)(struct gc_capture *capture, u64 first, u64 count);
	/* Optional. The caller has checked the range with gc_capture_check(). */
	int (*scan)(struct gc_capture *capture, struct gc_scan *scan);
	/* Fills in the fields that gc_session_stats() does not. */
	void (*stats)(struct gc_capture *capture, struct gc_stats *stats);
	/* Ends the capture and drops the reference of the control file. */
	void (*remove)(struct gc_capture *capture);
};

struct gc_capture {
	const struct gc_capture_ops *ops;
	struct gc_session *session;
};

/* Checks that the range is not empty (EINVAL) and inside the capture (ERANGE). */
static inline int gc_capture_check(const struct gc_capture *capture, u64 first, u64 count)
{
	u64 pages = capture->session->touched.pages;

	if (!count)
		return -EINVAL;
	return first < pages && count <= pages - first ? 0 : -ERANGE;
}

#endif /* GC_CAPTURE_H */
