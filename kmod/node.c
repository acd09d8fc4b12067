// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "compat.h"
#include "node.h"

#define GC_MAX_NODES 1024

static dev_t gc_node_devt;
static DEFINE_IDA(gc_node_ids);
static struct class gc_node_class = { .name = "guidecopy" };

/* VMAs of a node */

static struct gc_node *gc_vma_node(const struct vm_area_struct *vma)
{
	const struct file *file = vma->vm_private_data;

	return file->private_data;
}

/* A VMA is copied: by fork(2), a split or mremap(2). */
static void gc_node_vm_open(struct vm_area_struct *vma)
{
	get_file(vma->vm_private_data);
	gc_session_mapped(gc_vma_node(vma)->capture.session);
}

static void gc_node_vm_close(struct vm_area_struct *vma)
{
	gc_session_unmapped(gc_vma_node(vma)->capture.session);
	fput(vma->vm_private_data);
}

static enum gc_kind gc_fault_kind(const struct vm_fault *vmf)
{
	if (vmf->flags & FAULT_FLAG_WRITE)
		return GC_KIND_WRITE;
	if (vmf->flags & FAULT_FLAG_INSTRUCTION)
		return GC_KIND_EXEC;
	return GC_KIND_READ;
}

/*
 * Returns the task state to wait in, which decides which signals end the wait. A fault in kernel
 * code (copy_from_user()) gives up for a fatal signal only, but has FAULT_FLAG_INTERRUPTIBLE, too:
 * it would spin for as long as any other signal is pending. So a fault that is not from user mode
 * is interruptible in its first attempt only. That suffices for get_user_pages(), which checks for
 * signals before its second.
 */
static unsigned int gc_fault_sleep_state(const struct vm_fault *vmf)
{
	if ((vmf->flags & FAULT_FLAG_INTERRUPTIBLE) &&
	    ((vmf->flags & FAULT_FLAG_USER) || !(vmf->flags & FAULT_FLAG_TRIED)))
		return TASK_INTERRUPTIBLE;
	if (vmf->flags & FAULT_FLAG_KILLABLE)
		return TASK_KILLABLE;
	return TASK_UNINTERRUPTIBLE;
}

static vm_fault_t gc_fault_error(int err)
{
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

/*
 * Drops the fault's lock, and with it the VMA, but keeps the node. The caller must fput() the file
 * and return VM_FAULT_RETRY.
 */
static struct file *gc_node_unlock(struct vm_fault *vmf)
{
	struct file *file = get_file(vmf->vma->vm_private_data);

	gc_release_fault_lock(vmf);
	return file;
}

/* Handles a full ring. Returns 0 if the fault can proceed, else the fault handler's result. */
static vm_fault_t gc_node_fault_full(struct vm_fault *vmf, struct gc_session *session,
				     const struct gc_access *access)
{
	unsigned int state = gc_fault_sleep_state(vmf);
	struct file *file;
	int err;

	if (!(vmf->flags & FAULT_FLAG_ALLOW_RETRY)) {
		err = gc_session_spill(session, access);
		return err ? gc_fault_error(err) : 0;
	}
	/* The caller must not sleep and keeps the lock. */
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	file = gc_node_unlock(vmf);
	gc_session_wait(session, access->page, state);
	fput(file);
	return VM_FAULT_RETRY;
}

/*
 * Copies the page. The first attempt drops the fault's lock, because reading the process takes that
 * process's mmap lock. A second attempt, if needed, runs under the lock and returns the error.
 */
static vm_fault_t gc_node_fault_copy(struct vm_fault *vmf, struct gc_node *node, u64 page)
{
	bool may_unlock = vmf->flags & FAULT_FLAG_ALLOW_RETRY;
	struct gc_backing *backing = &node->backing;
	struct file *file;
	int err = -EAGAIN;

	/* The permission to read the process ended with the session. */
	if (gc_session_is_dead(node->capture.session))
		return VM_FAULT_SIGBUS;
	if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
		return VM_FAULT_RETRY;
	if (!may_unlock || (vmf->flags & FAULT_FLAG_TRIED))
		err = gc_backing_copy(backing, page, true);
	if (err != -EAGAIN || !may_unlock)
		return err ? gc_fault_error(err) : 0;
	file = gc_node_unlock(vmf);
	(void)gc_backing_copy(backing, page, false);
	fput(file);
	return VM_FAULT_RETRY;
}

/* Returns whether the fault may map the page: REARM has not armed it since it was recorded. */
static bool gc_node_is_recorded(struct gc_node *node, u64 page)
{
	return gc_session_is_touched(node->capture.session, page) ||
	       gc_session_is_dead(node->capture.session);
}

static vm_fault_t gc_node_serve(struct vm_fault *vmf, struct gc_node *node, u64 page)
{
	vm_fault_t ret = gc_backing_fault(&node->backing, vmf);

	if (!(ret & VM_FAULT_LOCKED))
		return ret;
	/*
	 * The page stays locked until it is mapped. gc_node_rearm() either waits for that lock or
	 * has armed the page already, which we see here. Pairs with the barrier in
	 * gc_backing_drain_faults().
	 */
	smp_mb__after_atomic();
	if (unlikely(!gc_node_is_recorded(node, page)))
		return gc_backing_undo_fault(vmf, ret);
	return ret;
}

static vm_fault_t gc_node_vm_fault(struct vm_fault *vmf)
{
	struct gc_node *node = gc_vma_node(vmf->vma);
	const struct gc_access access = {
		.page = gc_backing_index(&node->backing, vmf),
		.kind = gc_fault_kind(vmf),
		.vcpu = GC_NO_VCPU,
	};
	vm_fault_t ret;

	if (WARN_ON_ONCE(access.page >= node->backing.pages))
		return VM_FAULT_SIGBUS;
	if (!gc_session_touch(node->capture.session, &access)) {
		ret = gc_node_fault_full(vmf, node->capture.session, &access);
		if (ret)
			return ret;
	}
	if (gc_backing_needs_copy(&node->backing, access.page)) {
		ret = gc_node_fault_copy(vmf, node, access.page);
		if (ret)
			return ret;
	}
	return gc_node_serve(vmf, node, access.page);
}

/*
 * No map_pages: fault-around would hide first touches. No set_policy: the guide's memory policy
 * must not become the shared file's.
 */
static const struct vm_operations_struct gc_node_vm_ops = {
	.open = gc_node_vm_open,
	.close = gc_node_vm_close,
	.fault = gc_node_vm_fault,
};

/* Open files of a node */

static int gc_node_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct gc_node *node = file->private_data;
	int err;

	/* A shared mapping of a file not open for writing has VM_MAYSHARE only. */
	if ((vma->vm_flags & (VM_SHARED | VM_MAYSHARE)) && !gc_backing_is_process(&node->backing))
		return -EACCES;
	if (vma->vm_pgoff > node->backing.pages ||
	    vma_pages(vma) > node->backing.pages - vma->vm_pgoff)
		return -ENXIO;
	if (gc_session_is_dead(node->capture.session))
		return -ENODEV;

	/* gc_backing_map() may drop the VMA's reference to the file. */
	get_file(file);
	err = gc_backing_map(&node->backing, vma);
	if (err) {
		fput(file);
		return err;
	}
	vma->vm_private_data = file;
	vma->vm_ops = &gc_node_vm_ops;
	gc_session_mapped(node->capture.session);
	return 0;
}

static loff_t gc_node_llseek(struct file *file, loff_t offset, int whence)
{
	struct gc_node *node = file->private_data;

	return fixed_size_llseek(file, offset, whence, (loff_t)node->backing.pages << PAGE_SHIFT);
}

static int gc_node_open(struct inode *inode, struct file *file)
{
	/* Our caller holds the cdev, which holds its parent, the device. */
	struct gc_node *node = container_of(inode->i_cdev, struct gc_node, cdev);

	if (gc_session_is_dead(node->capture.session))
		return -ENODEV;
	get_device(&node->dev);
	file->private_data = node;
	return 0;
}

static int gc_node_file_release(struct inode *inode, struct file *file)
{
	struct gc_node *node = file->private_data;

	put_device(&node->dev);
	return 0;
}

static const struct file_operations gc_node_fops = {
	.owner = THIS_MODULE,
	.open = gc_node_open,
	.release = gc_node_file_release,
	.llseek = gc_node_llseek,
	.mmap = gc_node_mmap,
};

/* Device of a node */

static void gc_node_release(struct device *dev)
{
	struct gc_node *node = container_of(dev, struct gc_node, dev);

	gc_session_free(node->capture.session);
	gc_backing_destroy(&node->backing);
	gc_account_close(&node->account);
	ida_free(&gc_node_ids, MINOR(dev->devt) - MINOR(gc_node_devt));
	kfree(node);
}

static char *gc_node_devnode(GC_DEVNODE_CONST struct device *dev, umode_t *mode, kuid_t *uid,
			     kgid_t *gid)
{
	GC_DEVNODE_CONST struct gc_node *node = container_of(dev, struct gc_node, dev);

	/* On removal devtmpfs asks for the name only and passes NULL for the rest. */
	if (mode)
		*mode = 0600;
	if (uid)
		*uid = node->uid;
	if (gid)
		*gid = node->gid;
	return NULL;
}

static const struct device_type gc_node_type = {
	.name = "guidecopy_node",
	.devnode = gc_node_devnode,
	.release = gc_node_release,
};

/* Operations of the control file */

static int gc_node_rearm(struct gc_capture *capture, u64 first, u64 count)
{
	struct gc_node *node = container_of(capture, struct gc_node, capture);
	u64 done, batch;
	s64 touched;

	/* Unmap last: a touch in between is recorded, and merely faults once more. */
	for (done = 0; done < count; done += batch) {
		batch = min_t(u64, count - done, GC_REARM_BATCH);
		touched = gc_session_rearm(capture->session, first + done, batch);
		if (touched < 0)
			return touched;
		if (touched)
			gc_backing_drain_faults(&node->backing, first + done, batch);
	}
	gc_backing_unmap(&node->backing, first, count);
	return 0;
}

static void gc_node_stats(struct gc_capture *capture, struct gc_stats *stats)
{
	struct gc_node *node = container_of(capture, struct gc_node, capture);

	stats->copied = gc_backing_copied(&node->backing);
}

static void gc_node_remove(struct gc_capture *capture)
{
	struct gc_node *node = container_of(capture, struct gc_node, capture);

	gc_session_kill(capture->session);
	cdev_device_del(&node->cdev, &node->dev);
	put_device(&node->dev);
}

static const struct gc_capture_ops gc_node_ops = {
	.rearm = gc_node_rearm,
	.stats = gc_node_stats,
	.remove = gc_node_remove,
};

/* Allocates a node that is not yet in /dev. */
static struct gc_node *gc_node_alloc(const struct gc_session_create *arg, int id)
{
	struct gc_node *node;
	int err;

	node = kzalloc(sizeof(*node), GFP_KERNEL_ACCOUNT);
	if (!node)
		return ERR_PTR(-ENOMEM);
	err = gc_backing_check(arg);
	if (err)
		goto free_node;
	/* Before anything of a size that user space chooses is allocated. */
	err = gc_account_open(&node->account,
			      gc_session_bytes(arg->length >> PAGE_SHIFT, arg->ring_entries) +
			      gc_backing_bytes(arg));
	if (err)
		goto free_node;
	err = gc_backing_init(&node->backing, arg);
	if (err)
		goto close_account;
	node->capture.session = gc_session_alloc(id, node->backing.pages, arg->ring_entries);
	if (IS_ERR(node->capture.session)) {
		err = PTR_ERR(node->capture.session);
		goto put_backing;
	}
	node->capture.ops = &gc_node_ops;
	current_fsuid_fsgid(&node->uid, &node->gid);
	return node;

put_backing:
	gc_backing_destroy(&node->backing);
close_account:
	gc_account_close(&node->account);
free_node:
	kfree(node);
	return ERR_PTR(err);
}

struct gc_capture *gc_node_create(struct gc_session_create *arg)
{
	struct gc_node *node;
	int id, err;

	id = ida_alloc_max(&gc_node_ids, GC_MAX_NODES - 1, GFP_KERNEL);
	if (id < 0)
		return ERR_PTR(id);
	node = gc_node_alloc(arg, id);
	if (IS_ERR(node)) {
		ida_free(&gc_node_ids, id);
		return ERR_CAST(node);
	}

	/* From here on gc_node_release() undoes everything. */
	device_initialize(&node->dev);
	node->dev.class = &gc_node_class;
	node->dev.type = &gc_node_type;
	node->dev.devt = MKDEV(MAJOR(gc_node_devt), MINOR(gc_node_devt) + id);
	cdev_init(&node->cdev, &gc_node_fops);
	node->cdev.owner = THIS_MODULE;
	err = dev_set_name(&node->dev, "guidecopy-mem%d", id);
	if (!err)
		err = cdev_device_add(&node->cdev, &node->dev);
	if (err) {
		put_device(&node->dev);
		return ERR_PTR(err);
	}
	snprintf(arg->node, sizeof(arg->node), "/dev/%s", dev_name(&node->dev));
	return &node->capture;
}

int gc_node_register(void)
{
	int err = class_register(&gc_node_class);

	if (err)
		return err;
	err = alloc_chrdev_region(&gc_node_devt, 0, GC_MAX_NODES, "guidecopy-mem");
	if (err)
		class_unregister(&gc_node_class);
	return err;
}

void gc_node_unregister(void)
{
	unregister_chrdev_region(gc_node_devt, GC_MAX_NODES);
	class_unregister(&gc_node_class);
	ida_destroy(&gc_node_ids);
}
