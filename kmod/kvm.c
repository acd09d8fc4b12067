// SPDX-License-Identifier: GPL-2.0-only
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/kvm_host.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pgtable.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/tracepoint.h>

#include <asm/cpufeature.h>

#include "compat.h"
#include "kvm.h"

/*
 * KVM exports this tracepoint, but its header (arch/x86/kvm/trace.h) is private. Every vCPU fault
 * on the VM's memory reaches it, in the vCPU's thread, inside kvm->srcu, before KVM resolves the
 * fault.
 */
DECLARE_TRACE_EVENT(kvm_page_fault,
		    TP_PROTO(struct kvm_vcpu *vcpu, u64 fault_address, u64 error_code),
		    TP_ARGS(vcpu, fault_address, error_code));

#define GC_DRAIN_TRIES 100

struct gc_kvm {
	struct gc_vm vm;
	struct kvm *kvm; /* a reference; it pins the process's mm_struct, not its memory */
	struct mmu_notifier notifier; /* registered with the process that runs the VM */
};

static struct gc_kvm *gc_to_kvm(struct gc_vm *vm)
{
	return container_of(vm, struct gc_kvm, vm);
}

/*
 * Returns whether the tracepoint's address is a physical address of the VM. Under shadow paging it
 * is a virtual one; for a nested guest it is physical (nested paging) or virtual in that guest.
 */
static bool gc_kvm_address_is_gpa(const struct kvm_vcpu *vcpu)
{
	const struct kvm_mmu *mmu = READ_ONCE(vcpu->arch.mmu);

	return mmu == &vcpu->arch.root_mmu && mmu->root_role.direct;
}

/*
 * The tracepoint's error code is a page-fault error code from npf_interception() (svm.c), but the
 * exit qualification of the EPT violation from handle_ept_violation() (vmx.c), from 6.1 to 7.3.
 */
static enum gc_kind gc_kvm_fault_kind(u64 error_code)
{
	u64 fetch = boot_cpu_has(X86_FEATURE_SVM) ? PFERR_FETCH_MASK : BIT(2);

	if (error_code & BIT(1))
		return GC_KIND_WRITE;
	return error_code & fetch ? GC_KIND_EXEC : GC_KIND_READ;
}

static void gc_kvm_fault(void *data, struct kvm_vcpu *vcpu, u64 address, u64 error_code)
{
	gfn_t gfn = address >> PAGE_SHIFT;
	struct gc_kvm *hook = data;
	struct kvm_memory_slot *slot;

	/* The tracepoint is global: it reports the faults of every VM of the host. */
	if (vcpu->kvm != hook->kvm)
		return;
	if (!gc_kvm_address_is_gpa(vcpu)) {
		hook->vm.events->unresolved(hook->vm.data);
		return;
	}
	slot = __gfn_to_memslot(kvm_vcpu_memslots(vcpu), gfn);
	/* Not memory but a device; or a slot being moved or deleted, for which KVM retries. */
	if (!slot || slot->flags & KVM_MEMSLOT_INVALID)
		return;
	hook->vm.events->fault(hook->vm.data, __gfn_to_hva_memslot(slot, gfn),
			      gc_kvm_fault_kind(error_code), vcpu->vcpu_id);
}

/* MMU notifier of the process */

static int gc_kvm_invalidate_range_start(struct mmu_notifier *notifier,
					 const struct mmu_notifier_range *range)
{
	struct gc_kvm *hook = container_of(notifier, struct gc_kvm, notifier);

	/* munmap(2) or mremap(2). All other events leave the memory at its address. */
	if (range->event == MMU_NOTIFY_UNMAP)
		hook->vm.events->unmapped(hook->vm.data, range->start, range->end);
	return 0;
}

static void gc_kvm_release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct gc_kvm *hook = container_of(notifier, struct gc_kvm, notifier);

	hook->vm.events->gone(hook->vm.data);
}

static const struct mmu_notifier_ops gc_kvm_notifier_ops = {
	.invalidate_range_start = gc_kvm_invalidate_range_start,
	.release = gc_kvm_release,
};

/* Operations */

static void gc_kvm_detach(struct gc_vm *vm)
{
	struct gc_kvm *hook = gc_to_kvm(vm);

	if (vm->events->fault) {
		unregister_trace_kvm_page_fault(gc_kvm_fault, hook);
		tracepoint_synchronize_unregister();
	}
	mmu_notifier_unregister(&hook->notifier, hook->kvm->mm);
	kvm_put_kvm(hook->kvm);
	kfree(hook);
}

/*
 * Between the tracepoint and the read of the notifier's sequence (kvm_faultin_pfn(),
 * arch/x86/kvm/mmu/mmu.c) a fault does not notice that its page is zapped. The whole fault runs
 * inside kvm->srcu; in that window it waits for nothing but memory for page tables.
 */
static void gc_kvm_drain_faults(struct gc_vm *vm)
{
	struct srcu_struct *srcu = &gc_to_kvm(vm)->kvm->srcu;
	unsigned long cookie = start_poll_synchronize_srcu(srcu);
	unsigned int tries;

	for (tries = 0; tries < GC_DRAIN_TRIES; tries++) {
		if (poll_state_synchronize_srcu(srcu, cookie))
			break;
		usleep_range(200, 400);
	}
}

/*
 * Calls KVM's own notifier, and no other, as if the range went away; the process keeps its mapping.
 * The notifier stays registered for as long as the VM is pinned.
 */
static void gc_kvm_zap(struct gc_vm *vm, u64 address, u64 length)
{
	struct kvm *kvm = gc_to_kvm(vm)->kvm;
	struct mmu_notifier *kvm_notifier = &kvm->mmu_notifier;
	struct mmu_notifier_range range;

	gc_notifier_range_init(&range, kvm->mm, address, address + length);
	kvm_notifier->ops->invalidate_range_start(kvm_notifier, &range);
	kvm_notifier->ops->invalidate_range_end(kvm_notifier, &range);
}

static int gc_kvm_lock_memory(struct gc_vm *vm)
{
	struct mm_struct *mm = gc_to_kvm(vm)->kvm->mm;

	if (!mmget_not_zero(mm))
		return -ESRCH;
	if (mmap_read_lock_killable(mm)) {
		mmput(mm);
		return -EINTR;
	}
	return 0;
}

static void gc_kvm_unlock_memory(struct gc_vm *vm)
{
	struct mm_struct *mm = gc_to_kvm(vm)->kvm->mm;

	mmap_read_unlock(mm);
	mmput(mm);
}

static bool gc_kvm_age(struct gc_vm *vm, u64 address, u64 length)
{
	struct kvm *kvm = gc_to_kvm(vm)->kvm;
	struct mmu_notifier *kvm_notifier = &kvm->mmu_notifier;

	/* clear_flush_young would flush the TLBs of all vCPUs for each page. */
	return kvm_notifier->ops->clear_young(kvm_notifier, kvm->mm, address, address + length);
}

/*
 * Walks the page tables as host_pfn_mapping_level() (arch/x86/kvm/mmu/mmu.c) does. The caller keeps
 * them from being freed.
 */
static unsigned int gc_kvm_mapped_order(struct mm_struct *mm, u64 address)
{
	unsigned int order = 0;
	unsigned long flags;
	pgd_t pgd;
	p4d_t p4d;
	pud_t pud;
	pmd_t pmd;

	/* The kernel's half of the page tables is not the process's. */
	if (address >= TASK_SIZE_MAX)
		return 0;
	local_irq_save(flags);
	pgd = READ_ONCE(*pgd_offset(mm, address));
	if (pgd_none(pgd))
		goto out;
	p4d = READ_ONCE(*p4d_offset(&pgd, address));
	if (p4d_none(p4d) || !p4d_present(p4d))
		goto out;
	pud = READ_ONCE(*pud_offset(&p4d, address));
	if (pud_none(pud) || !pud_present(pud))
		goto out;
	if (pud_leaf(pud)) {
		order = PUD_SHIFT - PAGE_SHIFT;
		goto out;
	}
	pmd = READ_ONCE(*pmd_offset(&pud, address));
	if (!pmd_none(pmd) && pmd_present(pmd) && pmd_leaf(pmd))
		order = PMD_SHIFT - PAGE_SHIFT;
out:
	local_irq_restore(flags);
	return order;
}

static unsigned int gc_kvm_host_order(struct gc_vm *vm, u64 address)
{
	struct mm_struct *mm = gc_to_kvm(vm)->kvm->mm;
	const struct vm_area_struct *vma;

	/*
	 * The lock keeps the page tables that map a VMA, and only those: munmap(2) frees others
	 * with the lock held for reading, once their VMAs are detached.
	 */
	lockdep_assert_held(&mm->mmap_lock);
	vma = find_vma(mm, address);
	if (!vma || vma->vm_start > address)
		return 0;
	return gc_kvm_mapped_order(mm, address);
}

static unsigned int gc_kvm_fault_order(struct gc_vm *vm, u64 address)
{
	struct mm_struct *mm = gc_to_kvm(vm)->kvm->mm;

	/*
	 * Page tables are freed after a TLB flush that interrupts the CPUs that run the process, so
	 * disabled interrupts hold it off on these CPUs, and on no others.
	 */
	if (current->mm != mm)
		return 0;
	return gc_kvm_mapped_order(mm, address);
}

static const struct gc_vm_ops gc_kvm_ops = {
	.detach = gc_kvm_detach,
	.drain_faults = gc_kvm_drain_faults,
	.zap = gc_kvm_zap,
	.lock_memory = gc_kvm_lock_memory,
	.unlock_memory = gc_kvm_unlock_memory,
	.age = gc_kvm_age,
	.host_order = gc_kvm_host_order,
	.fault_order = gc_kvm_fault_order,
};

/* Attaching */

/*
 * In 7.2, file_is_kvm() is exported to KVM's own modules only. The name of an anonymous inode is
 * the kernel's choice, never a user's.
 */
static bool gc_file_is_kvm(const struct file *file)
{
	const struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(dentry->d_name.name, "kvm-vm");
}

/* Pins the VM behind a file descriptor. */
static struct kvm *gc_kvm_get(int fd)
{
	struct file *file = fget(fd);
	struct kvm *kvm;

	if (!file)
		return ERR_PTR(-EBADF);
	kvm = gc_file_is_kvm(file) ? file->private_data : ERR_PTR(-ENODEV);
	/* The file holds a reference of its own, so the count is not zero here. */
	if (!IS_ERR(kvm))
		kvm_get_kvm(kvm);
	fput(file);
	return kvm;
}

/*
 * Returns whether a vCPU has shadow page tables. Until its guest enables paging, a vCPU has direct
 * ones under shadow paging too; its later faults are then counted as unresolved.
 */
static bool gc_kvm_uses_shadow_paging(struct kvm *kvm)
{
	struct kvm_vcpu *vcpu;
	unsigned long i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		union kvm_mmu_page_role role = READ_ONCE(vcpu->arch.root_mmu.root_role);

		if (role.word && !role.direct)
			return true;
	}
	return false;
}

static int gc_kvm_register(struct gc_kvm *hook)
{
	struct mm_struct *mm = hook->kvm->mm;
	int err;

	if (gc_kvm_uses_shadow_paging(hook->kvm))
		return -EOPNOTSUPP;
	if (!mmget_not_zero(mm))
		return -ESRCH;
	err = mmu_notifier_register(&hook->notifier, mm);
	mmput(mm);
	if (err || !hook->vm.events->fault)
		return err;
	err = register_trace_kvm_page_fault(gc_kvm_fault, hook);
	if (err)
		mmu_notifier_unregister(&hook->notifier, mm);
	return err;
}

int gc_kvm_attach(struct gc_vm **vm, int fd, const struct gc_vm_events *events, void *data)
{
	struct gc_kvm *hook;
	int err;

	hook = kzalloc(sizeof(*hook), GFP_KERNEL_ACCOUNT);
	if (!hook)
		return -ENOMEM;
	hook->vm = (struct gc_vm){ .ops = &gc_kvm_ops, .events = events, .data = data };
	hook->notifier.ops = &gc_kvm_notifier_ops;
	hook->kvm = gc_kvm_get(fd);
	err = PTR_ERR_OR_ZERO(hook->kvm);
	if (err)
		goto free;
	*vm = &hook->vm;
	err = gc_kvm_register(hook);
	if (err)
		goto put;
	return 0;

put:
	kvm_put_kvm(hook->kvm);
free:
	kfree(hook);
	return err;
}
