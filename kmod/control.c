// SPDX-License-Identifier: GPL-2.0-only
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "control.h"
#include "node.h"

static unsigned int max_ring_entries = 1U << 20;
module_param(max_ring_entries, uint, 0644);
MODULE_PARM_DESC(max_ring_entries, "largest ring that a session may ask for, in records of 32 bytes");

/* One open file. */
struct gc_control {
	struct mutex create_lock; /* one GC_IOC_SESSION_CREATE at a time */
	struct gc_node *node; /* set once, by release; read by acquire, without a lock */
};

static struct gc_node *gc_control_node(struct gc_control *control)
{
	/* Pairs with the release in gc_ioctl_session_create(). */
	return smp_load_acquire(&control->node);
}

/* ioctls */

static long gc_ioctl_session_create(struct gc_control *control, void *argument)
{
	struct gc_session_create *arg = argument;
	struct gc_node *node;
	long ret = -EBUSY;

	if (arg->ring_entries > READ_ONCE(max_ring_entries))
		return -ENOBUFS;
	mutex_lock(&control->create_lock);
	if (control->node)
		goto unlock;
	node = gc_node_create(arg);
	ret = PTR_ERR_OR_ZERO(node);
	if (ret)
		goto unlock;
	snprintf(arg->node, sizeof(arg->node), "/dev/%s", dev_name(&node->dev));
	/* Pairs with the acquire in gc_control_node(). */
	smp_store_release(&control->node, node);
unlock:
	mutex_unlock(&control->create_lock);
	return ret;
}

static long gc_ioctl_rearm(struct gc_control *control, void *argument)
{
	const struct gc_rearm *arg = argument;

	return gc_node_rearm(gc_control_node(control), arg->first, arg->count);
}

static long gc_ioctl_kick(struct gc_control *control, void *argument)
{
	gc_session_kick(gc_control_node(control)->session);
	return 0;
}

static long gc_ioctl_stats(struct gc_control *control, void *argument)
{
	gc_session_stats(gc_control_node(control)->session, argument);
	return 0;
}

/* What every argument begins with. */
struct gc_ioctl_header {
	__u32 size;
	__u32 flags;
};

struct gc_ioctl_op {
	size_t size; /* of the argument */
	size_t min_size; /* of its first version */
	bool needs_session;
	long (*run)(struct gc_control *control, void *argument);
};

#define GC_IOCTL_OP(cmd, type, last, session, function) \
	[_IOC_NR(cmd)] = { .size = sizeof(type), .min_size = offsetofend(type, last), \
			   .needs_session = session, .run = function }

static const struct gc_ioctl_op gc_ioctl_ops[] = {
	GC_IOCTL_OP(GC_IOC_SESSION_CREATE, struct gc_session_create, node, false,
		    gc_ioctl_session_create),
	GC_IOCTL_OP(GC_IOC_REARM, struct gc_rearm, count, true, gc_ioctl_rearm),
	GC_IOCTL_OP(GC_IOC_KICK, struct gc_kick, flags, true, gc_ioctl_kick),
	GC_IOCTL_OP(GC_IOC_STATS, struct gc_stats, mappings, true, gc_ioctl_stats),
};

union gc_ioctl_argument {
	struct gc_ioctl_header header;
	struct gc_session_create create;
	struct gc_rearm rearm;
	struct gc_kick kick;
	struct gc_stats stats;
};

static const struct gc_ioctl_op *gc_ioctl_find(unsigned int cmd)
{
	unsigned int nr = _IOC_NR(cmd);

	if (_IOC_TYPE(cmd) != GC_IOC_TYPE || nr >= ARRAY_SIZE(gc_ioctl_ops) ||
	    cmd != _IO(GC_IOC_TYPE, nr))
		return NULL;
	return &gc_ioctl_ops[nr];
}

static long gc_control_ioctl(struct file *file, unsigned int cmd, unsigned long address)
{
	const struct gc_ioctl_op *op = gc_ioctl_find(cmd);
	struct gc_control *control = file->private_data;
	void __user *user = (void __user *)address;
	union gc_ioctl_argument arg = {};
	u32 size;
	long ret;

	if (!op)
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < op->min_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&arg, op->size, user, size);
	if (ret)
		return ret;
	if (arg.header.flags)
		return -EINVAL;
	if (op->needs_session && !gc_control_node(control))
		return -ENOENT;

	ret = op->run(control, &arg);
	if (ret)
		return ret;
	/* User space may have changed its size meanwhile: it gets back what it passed first. */
	arg.header.size = size;
	if (copy_to_user(user, &arg, min_t(size_t, size, op->size)))
		return -EFAULT;
	return 0;
}

/* The mapping of the ring */

static vm_fault_t gc_control_vm_fault(struct vm_fault *vmf)
{
	struct gc_control *control = vmf->vma->vm_private_data;
	struct page *page = gc_ring_page(&gc_control_node(control)->session->ring, vmf->pgoff);

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
	struct gc_node *node = gc_control_node(control);
	unsigned long pages;

	if (!node)
		return -ENOENT;
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	pages = gc_ring_mapping_pages(&node->session->ring);
	if (vma->vm_pgoff > pages || vma_pages(vma) > pages - vma->vm_pgoff)
		return -ENXIO;
	if (vma->vm_flags & VM_WRITE) {
		if (vma->vm_pgoff != GC_RING_CONSUMER_OFFSET >> PAGE_SHIFT || vma_pages(vma) != 1)
			return -EPERM;
	} else {
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	/* DONTCOPY: a forked child must not keep the session alive. */
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_private_data = control;
	vma->vm_ops = &gc_control_vm_ops;
	return 0;
}

static __poll_t gc_control_poll(struct file *file, poll_table *wait)
{
	struct gc_node *node = gc_control_node(file->private_data);

	return node ? gc_session_poll(node->session, file, wait) : EPOLLERR;
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

	if (control->node)
		gc_node_remove(control->node);
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
