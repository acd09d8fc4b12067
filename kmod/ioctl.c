// SPDX-License-Identifier: GPL-2.0-only
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

#include "ioctl.h"

#define GC_IOCTL_LAYOUT(cmd, type, last, ...) \
	[_IOC_NR(cmd)] = { .size = sizeof(type), .min_size = offsetofend(type, last), __VA_ARGS__ }

static const struct gc_ioctl_layout gc_ioctl_layouts[] = {
	GC_IOCTL_LAYOUT(GC_IOC_SESSION_CREATE, struct gc_session_create, node_fd,
			.flags = GC_SESSION_PROCESS),
	GC_IOCTL_LAYOUT(GC_IOC_REARM, struct gc_rearm, count),
	GC_IOCTL_LAYOUT(GC_IOC_KICK, struct gc_kick, flags),
	GC_IOCTL_LAYOUT(GC_IOC_STATS, struct gc_stats, mappings),
	GC_IOCTL_LAYOUT(GC_IOC_TRACK_CREATE, struct gc_track_create, ranges),
	GC_IOCTL_LAYOUT(GC_IOC_SCAN, struct gc_scan, young),
};

const struct gc_ioctl_layout *gc_ioctl_layout(unsigned int cmd)
{
	unsigned int nr = _IOC_NR(cmd);

	if (nr >= ARRAY_SIZE(gc_ioctl_layouts) || cmd != _IO(GC_IOC_TYPE, nr))
		return NULL;
	return &gc_ioctl_layouts[nr];
}

int gc_ioctl_check_size(const struct gc_ioctl_layout *layout, u32 size)
{
	if (size < layout->min_size)
		return -EINVAL;
	return size > PAGE_SIZE ? -E2BIG : 0;
}

int gc_ioctl_check(const struct gc_ioctl_layout *layout, const union gc_ioctl_argument *argument)
{
	return argument->header.flags & ~layout->flags ? -EINVAL : 0;
}

int gc_ioctl_copy_in(const struct gc_ioctl_layout *layout, union gc_ioctl_argument *argument,
		     const void __user *user)
{
	u32 size;
	int err;

	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	err = gc_ioctl_check_size(layout, size);
	if (err)
		return err;
	err = copy_struct_from_user(argument, layout->size, user, size);
	if (err)
		return err;
	/* User space may have changed the size between the two reads. */
	argument->header.size = size;
	return gc_ioctl_check(layout, argument);
}

int gc_ioctl_copy_out(const struct gc_ioctl_layout *layout,
		      const union gc_ioctl_argument *argument, void __user *user)
{
	size_t size = min(argument->header.size, layout->size);

	return copy_to_user(user, argument, size) ? -EFAULT : 0;
}
