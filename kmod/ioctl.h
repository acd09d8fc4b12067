/* SPDX-License-Identifier: GPL-2.0-only */
/* The ioctl arguments of /dev/guidecopy: extensible structs with fields that must be zero. */
#ifndef GC_IOCTL_H
#define GC_IOCTL_H

#include <linux/stddef.h>
#include <linux/types.h>

#include <guidecopy.h>

/* The beginning of every argument. */
struct gc_ioctl_header {
	__u32 size;
	__u32 flags;
};

union gc_ioctl_argument {
	struct gc_ioctl_header header;
	struct gc_session_create session_create;
	struct gc_track_create track_create;
	struct gc_rearm rearm;
	struct gc_kick kick;
	struct gc_scan scan;
	struct gc_stats stats;
};

struct gc_ioctl_layout {
	u32 size; /* of the argument, in bytes */
	u32 min_size; /* size of the argument's first version */
	u32 flags; /* known flags */
};

/* Returns the layout of a command's argument, or NULL for an unknown command. */
const struct gc_ioctl_layout *gc_ioctl_layout(unsigned int cmd);

/* Checks the size that user space passes. Errors: EINVAL, E2BIG. */
int gc_ioctl_check_size(const struct gc_ioctl_layout *layout, u32 size);

/* Checks that unknown flags are zero. Errors: EINVAL. */
int gc_ioctl_check(const struct gc_ioctl_layout *layout, const union gc_ioctl_argument *argument);

/*
 * Copy an argument from and to user space. A shorter argument is extended with zeros on the way in
 * and truncated on the way out.
 */
int gc_ioctl_copy_in(const struct gc_ioctl_layout *layout, union gc_ioctl_argument *argument,
		     const void __user *user);
int gc_ioctl_copy_out(const struct gc_ioctl_layout *layout,
		      const union gc_ioctl_argument *argument, void __user *user);

#endif /* GC_IOCTL_H */
