/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/guidecopy-memN: the memory of one session, to be mapped privately by a guide.
 *
 * A node owns its session and its backing. It lives as long as its struct device has references:
 * one of the control file, one of each open file of the node. A VMA holds the file of the node that
 * it was made by (its vm_file is the backing file), and so does a thread asleep in a fault; that
 * also keeps the module from being unloaded.
 */
#ifndef GC_NODE_H
#define GC_NODE_H

#include <linux/cdev.h>
#include <linux/device.h>

#include "backing.h"
#include "capture.h"

struct gc_node {
	struct device dev;
	struct cdev cdev;
	struct gc_capture capture;
	struct gc_backing backing;
	kuid_t uid; /* owner of the device file */
	kgid_t gid;
};

/* Makes the session, shows the node in /dev, and names it in arg. Errors: those of the ioctl. */
struct gc_capture *gc_node_create(struct gc_session_create *arg);

int gc_node_register(void);
void gc_node_unregister(void);

#endif /* GC_NODE_H */
