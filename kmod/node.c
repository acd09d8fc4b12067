// SPDX-License-Identifier: GPL-2.0-only
#include <linux/atomic.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "compat.h"
#include "node.h"

#define GC_NODE_FS_MAGIC 0x67637079 /* "gcpy" */

/* The file system, mounted while there are nodes, and the number of those that pin it. */
static struct vfsmount *gc_node_mount;
static int gc_node_pins;

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

/*
 * Handles a full ring in a worker of a workqueue, which all users of the queue share: it must not
 * wait for the consumer. Such a worker faults in memory of another process for KVM's asynchronous
 * page faults (async_pf_execute(), virt/kvm/async_pf.c). That ignores the error, and KVM repeats
 * the fault in the vCPU's thread, which waits there (kvm_arch_async_page_ready(),
 * arch/x86/kvm/mmu/mmu.c). Letting the fault proceed instead would let the guide run ahead of the
 * consumer without bound. A worker that has taken the process's memory for its own
 * (kthread_use_mm()) has nobody to repeat the access.
 */
static vm_fault_t gc_node_fault_full_worker(struct vm_fault *vmf, struct gc_session *session,
					    const struct gc_access *access)
{
	int err;

	if (vmf->flags & FAULT_FLAG_REMOTE)
		return VM_FAULT_SIGBUS;
	err = gc_session_spill(session, access);
	return err ? gc_fault_error(err) : 0;
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
	if (current->flags & PF_WQ_WORKER)
		return gc_node_fault_full_worker(vmf, session, access);
	file = gc_node_unlock(vmf);
	gc_session_wait(session, access->page, state);
	fput(file);
	return VM_FAULT_RETRY;
}

/*
 * Copies the page. The first attempt drops the fault's lock, because reading the process takes that
 * process's mmap lock. A second attempt, if needed, runs under the lock and returns the error. A
 * worker of a workqueue may wait for that lock, too, but nobody holds it until a consumer acts.
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
	if (err != -EAGAIN)
		return err ? gc_fault_error(err) : 0;
	/* The caller keeps its lock and repeats the fault, unless killed (__get_user_pages()). */
	if (!may_unlock)
		return VM_FAULT_NOPAGE;
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
	return gc_backing_map_page(vmf, ret);
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

/* Called for an open through /proc/PID/fd; gc_node_create() makes the first file. */
static int gc_node_open(struct inode *inode, struct file *file)
{
	struct gc_node *node = inode->i_private;

	if (gc_session_is_dead(node->capture.session))
		return -ENODEV;
	file->private_data = node;
	return 0;
}

static const struct file_operations gc_node_fops = {
	.owner = THIS_MODULE,
	.open = gc_node_open,
	.llseek = gc_node_llseek,
	.mmap = gc_node_mmap,
};

/* Inode of a node */

/* The size is that of the session, and access is a matter of having the file. */
static int gc_node_setattr(GC_IDMAP *idmap, struct dentry *dentry, struct iattr *attr)
{
	return -EPERM;
}

static const struct inode_operations gc_node_iops = {
	.setattr = gc_node_setattr,
};

static void gc_node_free(struct gc_node *node)
{
	gc_session_free(node->capture.session);
	gc_backing_destroy(&node->backing);
	gc_account_close(&node->account);
	kfree(node);
}

static void gc_node_evict_inode(struct inode *inode)
{
	clear_inode(inode);
	/* The root of the file system has no node. */
	if (inode->i_private)
		gc_node_free(inode->i_private);
}

static const struct super_operations gc_node_super_ops = {
	.statfs = simple_statfs,
	.evict_inode = gc_node_evict_inode,
};

static int gc_node_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *context = init_pseudo(fc, GC_NODE_FS_MAGIC);

	if (!context)
		return -ENOMEM;
	context->ops = &gc_node_super_ops;
	/* 6.16 sets it for all pseudo file systems. A node is memory, as a memfd is. */
	fc->s_iflags &= ~SB_I_NOEXEC;
	return 0;
}

/*
 * User space cannot mount it. Its mount holds the module until the last inode is gone, which is
 * after the last file has dropped its own reference to the module (__fput(), fs/file_table.c). A
 * mount made at module init would never let the module go.
 */
static struct file_system_type gc_node_fs_type = {
	.owner = THIS_MODULE,
	.name = "guidecopy",
	.init_fs_context = gc_node_init_fs_context,
	.kill_sb = kill_anon_super,
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
	/* Frees the node if no file of it is left. */
	iput(node->inode);
	simple_release_fs(&gc_node_mount, &gc_node_pins);
}

static const struct gc_capture_ops gc_node_ops = {
	.rearm = gc_node_rearm,
	.stats = gc_node_stats,
	.remove = gc_node_remove,
};

/* Creation */

/* Allocates a node without an inode. */
static struct gc_node *gc_node_alloc(const struct gc_session_create *arg)
{
	static atomic_t ids = ATOMIC_INIT(0);
	u64 pages = arg->length >> PAGE_SHIFT;
	struct gc_node *node;
	int err;

	node = kzalloc(sizeof(*node), GFP_KERNEL_ACCOUNT);
	if (!node)
		return ERR_PTR(-ENOMEM);
	err = gc_backing_check(arg);
	if (err)
		goto free_node;
	/* Before anything of a size that user space chooses is allocated. */
	err = gc_account_open(&node->account, gc_session_bytes(pages, arg->ring_entries) +
						      gc_backing_bytes(arg));
	if (err)
		goto free_node;
	err = gc_backing_init(&node->backing, arg);
	if (err)
		goto close_account;
	node->capture.session = gc_session_alloc(GC_SESSION_ID(atomic_inc_return(&ids)), pages,
						 arg->ring_entries);
	err = PTR_ERR_OR_ZERO(node->capture.session);
	if (err)
		goto put_backing;
	node->capture.ops = &gc_node_ops;
	return node;

put_backing:
	gc_backing_destroy(&node->backing);
close_account:
	gc_account_close(&node->account);
free_node:
	kfree(node);
	return ERR_PTR(err);
}

/* Makes the inode, which owns the node from then on, and its first file. */
static struct file *gc_node_open_first(struct gc_node *node)
{
	struct inode *inode = alloc_anon_inode(gc_node_mount->mnt_sb);
	struct file *file;

	if (IS_ERR(inode)) {
		gc_node_free(node);
		return ERR_CAST(inode);
	}
	/*
	 * As for a memfd, whoever can reach a file of the node through /proc/PID/fd may open it:
	 * the guide, which need not run as the creator's user, and who may trace the guide.
	 */
	inode->i_mode = S_IFREG | 0666;
	inode->i_op = &gc_node_iops;
	inode->i_fop = &gc_node_fops;
	inode->i_private = node;
	i_size_write(inode, node->backing.pages << PAGE_SHIFT);
	node->inode = inode;
	file = alloc_file_pseudo(inode, gc_node_mount, "guidecopy-memory", O_RDWR, &gc_node_fops);
	if (IS_ERR(file)) {
		iput(inode);
		return file;
	}
	/* alloc_file_pseudo() does not, and the last fput() drops it. */
	__module_get(THIS_MODULE);
	file->private_data = node;
	/* The control file's reference. */
	ihold(inode);
	return file;
}

struct gc_capture *gc_node_create(const struct gc_session_create *arg, struct file **file)
{
	struct gc_node *node;
	int err;

	err = simple_pin_fs(&gc_node_fs_type, &gc_node_mount, &gc_node_pins);
	if (err)
		return ERR_PTR(err);
	node = gc_node_alloc(arg);
	err = PTR_ERR_OR_ZERO(node);
	if (err)
		goto unpin;
	*file = gc_node_open_first(node);
	err = PTR_ERR_OR_ZERO(*file);
	if (err)
		goto unpin;
	return &node->capture;

unpin:
	simple_release_fs(&gc_node_mount, &gc_node_pins);
	return ERR_PTR(err);
}
