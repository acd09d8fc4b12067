/* SPDX-License-Identifier: GPL-2.0-only */
/* The arguments of /dev/guidecopy's ioctls: sizes that can grow, and fields that must be zero. */
#ifndef GC_IOCTL_H
#define GC_IOCTL_H

#include <linux/stddef.h>
#include <linux/types.h>

#include <guidecopy.h>

/* What every argument begins with. */
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
	u32 size; /* of the argument */
	u32 min_size; /* of its first version */
	u32 flags; /* that are known */
	u32 reserved; /* offset of a __u32 that must be 0; 0: there is none */
};

/* The layout of a command's argument, or NULL: there is no such command. */
const struct gc_ioctl_layout *gc_ioctl_layout(unsigned int cmd);

/* Whether user space may pass so many bytes: EINVAL, E2BIG. */
int gc_ioctl_check_size(const struct gc_ioctl_layout *layout, u32 size);

/* Whether what is to be zero is: EINVAL. */
int gc_ioctl_check(const struct gc_ioctl_layout *layout, const union gc_ioctl_argument *argument);

/* Takes an argument from user space, zeros after what was passed, and gives it back. */
int gc_ioctl_copy_in(const struct gc_ioctl_layout *layout, union gc_ioctl_argument *argument,
		     const void __user *user);
int gc_ioctl_copy_out(const struct gc_ioctl_layout *layout,
		      const union gc_ioctl_argument *argument, void __user *user);

#endif /* GC_IOCTL_H */
