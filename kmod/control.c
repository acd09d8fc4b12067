// SPDX-License-Identifier: GPL-2.0-only
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "account.h"
#include "compat.h"
#include "control.h"
#include "ioctl.h"
#include "kvm.h"
#include "node.h"
#include "track.h"

static unsigned int max_ring_entries = 1U << 20;
module_param(max_ring_entries, uint, 0644);
MODULE_PARM_DESC(max_ring_entries, "maximum ring size of a session, in records of 32 bytes");

/* A record for each page of 256 GiB, in a ring of 2 GiB. */
static unsigned int max_track_entries = 1U << 26;
module_param(max_track_entries, uint, 0644);
MODULE_PARM_DESC(max_track_entries, "maximum ring size of a track, in records of 32 bytes");

/* A call of an ioctl. */
struct gc_call {
	union gc_ioctl_argument arg;
	/* A file for user space and its number, reserved until the call has succeeded; or NULL. */
	struct file *file;
	int fd;
};

/* State of one open file. */
struct gc_control {
	struct mutex create_lock; /* serialises creation */
	struct gc_capture *capture; /* set once, with release; read with acquire, without a lock */
	struct gc_account account; /* of a track; a session's is its node's, which lives longer */
};

static struct gc_capture *gc_control_capture(struct gc_control *control)
{
	/* Pairs with the release in gc_control_create(). */
	return smp_load_acquire(&control->capture);
}

/* ioctls */

static struct gc_capture *gc_create_session(struct gc_control *control, struct gc_call *call)
{
	struct gc_session_create *create = &call->arg.session_create;
	struct gc_capture *capture;
	int fd;

	if (create->ring_entries > READ_ONCE(max_ring_entries))
		return ERR_PTR(-ENOBUFS);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return ERR_PTR(fd);
	capture = gc_node_create(create, &call->file);
	if (IS_ERR(capture)) {
		call->file = NULL;
		put_unused_fd(fd);
		return capture;
	}
	call->fd = fd;
	create->node_fd = fd;
	return capture;
}

static void gc_call_end(struct gc_call *call, bool success)
{
	if (!call->file)
		return;
	if (success) {
		fd_install(call->fd, call->file);
	} else {
		put_unused_fd(call->fd);
		fput(call->file);
	}
}

static int gc_control_charge(void *data, u64 bytes)
{
	struct gc_control *control = data;

	return gc_account_open(&control->account, bytes);
}

static struct gc_capture *gc_create_track(struct gc_control *control, struct gc_call *call)
{
	const struct gc_track_limits limits = {
		.max_entries = rounddown_pow_of_two(max_t(u32, READ_ONCE(max_track_entries),
							  GC_RING_MIN_ENTRIES)),
		.charge = gc_control_charge,
		.data = control,
	};
	const struct gc_track_create *create = &call->arg.track_create;
	struct gc_capture *capture;
	struct gc_range *ranges;

	if (!create->range_count || create->range_count > GC_TRACK_MAX_RANGES)
		return ERR_PTR(-EINVAL);
	ranges = memdup_user(u64_to_user_ptr(create->ranges),
			     create->range_count * sizeof(*ranges));
	if (IS_ERR(ranges))
		return ERR_CAST(ranges);
	capture = gc_track_create(create, ranges, gc_kvm_attach, &limits);
	kfree(ranges);
	if (IS_ERR(capture))
		gc_account_close(&control->account);
	return capture;
}

static long gc_control_create(struct gc_control *control, struct gc_call *call,
			      struct gc_capture *(*create)(struct gc_control *control,
							   struct gc_call *call))
{
	struct gc_capture *capture;
	long ret = -EBUSY;

	mutex_lock(&control->create_lock);
	if (control->capture)
		goto unlock;
	capture = create(control, call);
	ret = PTR_ERR_OR_ZERO(capture);
	if (ret)
		goto unlock;
	/* Pairs with the acquire in gc_control_capture(). */
	smp_store_release(&control->capture, capture);
unlock:
	mutex_unlock(&control->create_lock);
	return ret;
}

static long gc_capture_rearm(struct gc_capture *capture, const struct gc_rearm *arg)
{
	int err = gc_capture_check(capture, arg->first, arg->count);

	return err ?: capture->ops->rearm(capture, arg->first, arg->count);
}

static long gc_capture_scan(struct gc_capture *capture, struct gc_scan *arg)
{
	int err;

	if (!capture->ops->scan)
		return -ENOTTY;
	err = gc_capture_check(capture, arg->first, arg->count);
	return err ?: capture->ops->scan(capture, arg);
}

static long gc_capture_stats(struct gc_capture *capture, struct gc_stats *arg)
{
	gc_session_stats(capture->session, arg);
	capture->ops->stats(capture, arg);
	return 0;
}

static long gc_control_run(struct gc_control *control, unsigned int cmd, struct gc_call *call)
{
	union gc_ioctl_argument *arg = &call->arg;
	struct gc_capture *capture;

	switch (cmd) {
	case GC_IOC_SESSION_CREATE:
		return gc_control_create(control, call, gc_create_session);
	case GC_IOC_TRACK_CREATE:
		return gc_control_create(control, call, gc_create_track);
	}

	capture = gc_control_capture(control);
	if (!capture)
		return -ENOENT;
	switch (cmd) {
	case GC_IOC_REARM:
		return gc_capture_rearm(capture, &arg->rearm);
	case GC_IOC_KICK:
		gc_session_kick(capture->session);
		return 0;
	case GC_IOC_SCAN:
		return gc_capture_scan(capture, &arg->scan);
	case GC_IOC_STATS:
		return gc_capture_stats(capture, &arg->stats);
	}
	return -ENOTTY;
}

static long gc_control_ioctl(struct file *file, unsigned int cmd, unsigned long address)
{
	const struct gc_ioctl_layout *layout = gc_ioctl_layout(cmd);
	void __user *user = (void __user *)address;
	struct gc_call call = {};
	long ret;

	if (!layout)
		return -ENOTTY;
	ret = gc_ioctl_copy_in(layout, &call.arg, user);
	if (ret)
		return ret;
	ret = gc_control_run(file->private_data, cmd, &call);
	if (!ret)
		ret = gc_ioctl_copy_out(layout, &call.arg, user);
	gc_call_end(&call, !ret);
	return ret;
}

/* Mapping of the ring */

static vm_fault_t gc_control_vm_fault(struct vm_fault *vmf)
{
	struct gc_control *control = vmf->vma->vm_private_data;
	struct page *page = gc_ring_page(&gc_control_capture(control)->session->ring, vmf->pgoff);

	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct gc_control_vm_ops = {
	.fault = gc_control_vm_fault,
};

static int gc_control_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct gc_control *control = file->private_data;
	struct gc_capture *capture = gc_control_capture(control);
	unsigned long pages;

	if (!capture)
		return -ENOENT;
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	pages = gc_ring_mapping_pages(&capture->session->ring);
	if (vma->vm_pgoff > pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ENXIO;
	if (vma->vm_flags & VM_WRITE) {
		if (vma->vm_pgoff != GC_RING_CONSUMER_OFFSET >> PAGE_SHIFT || vma_pages(vma) != 1)
			return -EPERM;
	} else {
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	/* DONTCOPY: a forked child must not keep the capture alive. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_private_data = control;
	vma->vm_ops = &gc_control_vm_ops;
	return 0;
}

static __poll_t gc_control_poll(struct file *file, poll_table *wait)
{
	struct gc_capture *capture = gc_control_capture(file->private_data);

	return capture ? gc_session_poll(capture->session, file, wait) : EPOLLERR;
}

static int gc_control_open(struct inode *inode, struct file *file)
{
	struct gc_control *control = kzalloc(sizeof(*control), GFP_KERNEL_ACCOUNT);

	if (!control)
		return -ENOMEM;
	mutex_init(&control->create_lock);
	file->private_data = control;
	return nonseekable_open(inode, file);
}

static int gc_control_release(struct inode *inode, struct file *file)
{
	struct gc_control *control = file->private_data;

	if (control->capture)
		control->capture->ops->remove(control->capture);
	gc_account_close(&control->account);
	mutex_destroy(&control->create_lock);
	kfree(control);
	return 0;
}

static const struct file_operations gc_control_fops = {
	.owner = THIS_MODULE,
	.open = gc_control_open,
	.release = gc_control_release,
	.unlocked_ioctl = gc_control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = gc_control_poll,
	.mmap = gc_control_mmap,
};

static struct miscdevice gc_control_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "guidecopy",
	.fops = &gc_control_fops,
	.mode = 0600,
};

int gc_control_register(void)
{
	return misc_register(&gc_control_device);
}

void gc_control_unregister(void)
{
	misc_deregister(&gc_control_device);
}
