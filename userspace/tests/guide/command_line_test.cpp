// SPDX-License-Identifier: GPL-2.0-or-later
// Whole command lines as people and libvirt write them, one option per line, and the guide's
// command lines derived from them.
#include "guide/command_line.h"

#include "guide/options_page.h"
#include "util/whole_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sstream>

namespace gc::guide {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// One option and its value per line, split at the first space; lines without a leading dash alone.
std::vector<std::string> arguments(const std::string& text) {
    std::vector<std::string> argv = {"qemu-system-x86_64"};
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        const auto space = line.starts_with('-') ? line.find(' ') : std::string::npos;
        argv.push_back(line.substr(0, space));
        if (space != std::string::npos)
            argv.push_back(line.substr(space + 1));
    }
    return argv;
}

std::string text_of(const std::vector<std::string>& argv) {
    std::string text;
    for (std::size_t i = 1; i < argv.size(); ++i)
        text += (i == 1 ? "" : argv[i].starts_with('-') ? "\n" : " ") + argv[i];
    return text + "\n";
}

/// The last options of every guide. @param fd its QMP descriptor
std::string own_options(int fd) {
    return fmt::format("-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                       "resourcecontrol=deny\n-name guidecopy-guide,debug-threads=on\n-display "
                       "none\n-monitor none\n"
                       "-chardev socket,id=gcqmp,fd={}\n-mon chardev=gcqmp,mode=control\n"
                       "-incoming defer\n",
                       fd);
}

const std::string default_memory =
    "-object memory-backend-file,id=pc.ram,size=1073741824,mem-path=/dev/gc0,share=off,"
    "x-use-canonical-path-for-ramblock-id=off\n"
    "-machine memory-backend=pc.ram\n";

GuideSubstitutes one_node(const std::string& id = "pc.ram") {
    GuideSubstitutes substitutes;
    substitutes.memory[id] = {"/dev/gc0", 1u << 30};
    return substitutes;
}

void expect_derived(const std::string& source, const std::string& expected,
                    const GuideSubstitutes& substitutes = one_node()) {
    auto guide = derive_guide_command_line(arguments(source), substitutes);
    ASSERT_TRUE(guide) << guide.error().message;
    EXPECT_EQ(guide->argv[0], "qemu-system-x86_64");
    EXPECT_EQ(text_of(guide->argv), expected);
}

std::string refusal_of(const std::string& option) {
    auto guide = derive_guide_command_line(arguments("-machine q35\n" + option), one_node());
    if (guide)
        return "derived: " + text_of(guide->argv);
    EXPECT_EQ(guide.error().kind, ErrorKind::unsupported) << option;
    return guide.error().message;
}

TEST(CommandLine, PlainQemu) {
    expect_derived(
        "-enable-kvm\n-m 1G\n-smp 2\n-cpu host\n-hda disk.img\n-cdrom debian.iso\n"
        "-nic user,model=virtio-net-pci,hostfwd=tcp::2222-:22\n-display gtk\n-daemonize\n"
        "-monitor unix:/run/vm.mon,server,nowait\n-pidfile /run/vm.pid\n-S",
        "-enable-kvm\n-m 1G\n-smp 2\n-cpu host\n"
        "-drive index=0,media=disk,file=disk.img,file.locking=off,snapshot=on\n"
        "-drive index=2,media=cdrom,file=debian.iso,file.locking=off,readonly=on\n"
        "-nic user,restrict=on,model=virtio-net-pci\n" +
            default_memory + own_options(10));
}

TEST(CommandLine, ImageWithoutAnOptionAndDoubleDashes) {
    expect_derived("disk, with comma.img\n--machine pc-i440fx-7.2,accel=kvm:tcg\n--nographic",
                   "-drive index=0,media=disk,file=disk,, with comma.img,file.locking=off,"
                   "snapshot=on\n"
                   "-machine pc-i440fx-7.2,accel=kvm:tcg\n-machine graphics=off\n" +
                       default_memory + own_options(10));
}

TEST(CommandLine, DirectKernelBoot) {
    expect_derived("-M microvm,x-option-roms=off,rtc=on\n-accel kvm\n-m 1G\n-nodefaults\n"
                   "-no-user-config\n-kernel /boot/vmlinuz\n-initrd /tmp/initrd\n"
                   "-append console=ttyS0 reboot=t\n-serial mon:stdio\n"
                   "-drive id=root,file=root.qcow2,format=qcow2,if=none\n"
                   "-device virtio-blk-device,drive=root\n"
                   "-netdev tap,id=net0,ifname=tap3,script=no,downscript=no,vhost=on,queues=4\n"
                   "-device virtio-net-device,netdev=net0",
                   "-machine microvm,x-option-roms=off,rtc=on\n-accel kvm\n-m 1G\n-nodefaults\n"
                   "-no-user-config\n-kernel /boot/vmlinuz\n-initrd /tmp/initrd\n"
                   "-append console=ttyS0 reboot=t\n-serial null\n"
                   "-drive id=root,file=root.qcow2,format=qcow2,if=none,file.locking=off,"
                   "snapshot=on\n"
                   "-device virtio-blk-device,drive=root\n"
                   "-netdev tap,id=net0,fds=10:11:12:13\n"
                   "-device virtio-net-device,netdev=net0\n" +
                       default_memory + own_options(14));
}

TEST(CommandLine, AsProxmoxWritesThem) {
    expect_derived(
        "-id 100\n-name web,debug-threads=on\n-no-shutdown\n"
        "-chardev socket,id=qmp,path=/var/run/qemu-server/100.qmp,server=on,wait=off\n"
        "-mon chardev=qmp,mode=control\n-pidfile /var/run/qemu-server/100.pid\n-daemonize\n"
        "-smbios type=1,uuid=8d2a\n-smp 4,sockets=1,cores=4,maxcpus=4\n-nodefaults\n"
        "-boot menu=on,strict=on,reboot-timeout=1000,splash=/usr/share/qemu-server/bootsplash.jpg\n"
        "-vnc unix:/var/run/qemu-server/100.vnc,password=on\n"
        "-cpu kvm64,enforce,+kvm_pv_eoi\n-m 1024\n"
        "-object iothread,id=iothread-virtioscsi0\n"
        "-device vmgenid,guid=6d2c\n-device VGA,id=vga,bus=pci.0,addr=0x2\n"
        "-chardev socket,path=/var/run/qemu-server/100.qga,server=on,wait=off,id=qga0\n"
        "-device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0\n"
        "-device virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on\n"
        "-iscsi initiator-name=iqn.1993-08.org.debian:01:aa\n"
        "-drive if=none,id=drive-ide2,media=cdrom,aio=io_uring\n"
        "-device ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2,bootindex=101\n"
        "-device virtio-scsi-pci,id=virtioscsi0,iothread=iothread-virtioscsi0\n"
        "-drive file=/dev/pve/vm-100-disk-0,if=none,id=drive-scsi0,discard=on,format=raw,"
        "cache=none,aio=io_uring,detect-zeroes=unmap\n"
        "-device scsi-hd,bus=virtioscsi0.0,drive=drive-scsi0,id=scsi0,bootindex=100\n"
        "-netdev type=tap,id=net0,ifname=tap100i0,script=/var/lib/qemu-server/pve-bridge,"
        "downscript=/var/lib/qemu-server/pve-bridgedown,vhost=on\n"
        "-device virtio-net-pci,mac=52:54:00:00:00:01,netdev=net0,id=net0\n-machine type=pc",
        "-no-shutdown\n-chardev null,id=qmp\n"
        "-smbios type=1,uuid=8d2a\n-smp 4,sockets=1,cores=4,maxcpus=4\n-nodefaults\n"
        "-boot menu=on,strict=on,reboot-timeout=1000,splash=/usr/share/qemu-server/bootsplash.jpg\n"
        "-cpu kvm64,enforce,+kvm_pv_eoi\n-m 1024\n"
        "-object iothread,id=iothread-virtioscsi0\n"
        "-device vmgenid,guid=6d2c\n-device VGA,id=vga,bus=pci.0,addr=0x2\n"
        "-chardev null,id=qga0\n"
        "-device virtserialport,chardev=qga0,name=org.qemu.guest_agent.0\n"
        "-device virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on\n"
        "-drive if=none,id=drive-ide2,media=cdrom,aio=io_uring\n"
        "-device ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2,bootindex=101\n"
        "-device virtio-scsi-pci,id=virtioscsi0,iothread=iothread-virtioscsi0\n"
        "-drive file=/dev/pve/vm-100-disk-0,if=none,id=drive-scsi0,discard=on,format=raw,"
        "cache=none,aio=io_uring,detect-zeroes=unmap,file.locking=off,snapshot=on\n"
        "-device scsi-hd,bus=virtioscsi0.0,drive=drive-scsi0,id=scsi0,bootindex=100\n"
        "-netdev tap,id=net0,fd=10\n"
        "-device virtio-net-pci,mac=52:54:00:00:00:01,netdev=net0,id=net0\n-machine pc\n" +
            default_memory + own_options(11));
}

const char* const libvirt_source =
    R"(-name guest=web,debug-threads=on
-S
-object {"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/domain-1-web/master-key.aes"}
-blockdev {"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE_4M.fd","node-name":"libvirt-pflash0-storage","auto-read-only":true,"discard":"unmap"}
-blockdev {"node-name":"libvirt-pflash0-format","read-only":true,"driver":"raw","file":"libvirt-pflash0-storage"}
-blockdev {"driver":"file","filename":"/var/lib/libvirt/qemu/nvram/web_VARS.fd","node-name":"libvirt-pflash1-storage","auto-read-only":true,"discard":"unmap"}
-blockdev {"node-name":"libvirt-pflash1-format","read-only":false,"driver":"raw","file":"libvirt-pflash1-storage"}
-machine pc-q35-7.2,usb=off,vmport=off,smm=on,dump-guest-core=off,memory-backend=pc.ram,pflash0=libvirt-pflash0-format,pflash1=libvirt-pflash1-format
-accel kvm
-cpu host,migratable=on
-global driver=cfi.pflash01,property=secure,value=on
-m 1024
-object {"qom-type":"memory-backend-memfd","id":"pc.ram","share":true,"x-use-canonical-path-for-ramblock-id":false,"prealloc":true,"size":1073741824,"host-nodes":[0],"policy":"bind"}
-overcommit mem-lock=off
-smp 2,sockets=2,cores=1,threads=1
-object {"qom-type":"iothread","id":"iothread1"}
-uuid 6a3b46a8-3c8f-4f7e-9a6f-1d2e3f405162
-no-user-config
-nodefaults
-chardev socket,id=charmonitor,fd=32,server=on,wait=off
-mon chardev=charmonitor,id=monitor,mode=control
-rtc base=utc,driftfix=slew
-global kvm-pit.lost_tick_policy=delay
-no-hpet
-no-shutdown
-global ICH9-LPC.disable_s3=1
-boot strict=on
-device {"driver":"pcie-root-port","port":16,"chassis":1,"id":"pci.1","bus":"pcie.0","multifunction":true,"addr":"0x2"}
-device {"driver":"qemu-xhci","p2":15,"p3":15,"id":"usb","bus":"pci.2","addr":"0x0"}
-add-fd set=0,fd=34,opaque=web.log
-blockdev {"driver":"file","filename":"/images/base.qcow2","node-name":"libvirt-3-storage","auto-read-only":true,"discard":"unmap"}
-blockdev {"node-name":"libvirt-3-format","read-only":true,"driver":"qcow2","file":"libvirt-3-storage","backing":null}
-blockdev {"driver":"file","filename":"/images/web.qcow2","aio":"native","node-name":"libvirt-2-storage","cache":{"direct":true,"no-flush":false},"auto-read-only":true,"discard":"unmap"}
-blockdev {"node-name":"libvirt-2-format","read-only":false,"cache":{"direct":true,"no-flush":false},"driver":"qcow2","file":"libvirt-2-storage","backing":"libvirt-3-format"}
-device {"driver":"virtio-blk-pci","iothread":"iothread1","bus":"pci.4","addr":"0x0","drive":"libvirt-2-format","id":"virtio-disk0","bootindex":1,"write-cache":"on"}
-device {"driver":"ide-cd","bus":"ide.0","id":"sata0-0-0"}
-netdev {"type":"tap","fds":"35:36","vhost":true,"vhostfds":"37:38","id":"hostnet0"}
-device {"driver":"virtio-net-pci","mq":true,"vectors":6,"netdev":"hostnet0","id":"net0","mac":"52:54:00:11:22:33","bus":"pci.1","addr":"0x0"}
-netdev {"type":"tap","fd":"39","id":"hostnet1"}
-device {"driver":"e1000e","netdev":"hostnet1","id":"net1","mac":"52:54:00:11:22:34","bus":"pci.5","addr":"0x0"}
-chardev pty,id=charserial0,logfile=/dev/fdset/0,logappend=on
-device {"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0}
-chardev spicevmc,id=charchannel0,name=vdagent
-device {"driver":"virtserialport","bus":"virtio-serial0.0","nr":1,"chardev":"charchannel0","id":"channel0","name":"com.redhat.spice.0"}
-object {"qom-type":"tls-creds-x509","id":"vnc-tls-creds0","dir":"/etc/pki/qemu","endpoint":"server","verify-peer":true}
-vnc 127.0.0.1:0,tls-creds=vnc-tls-creds0,audiodev=audio1
-audiodev {"id":"audio1","driver":"spice"}
-spice port=5900,addr=127.0.0.1,disable-ticketing=on,seamless-migration=on
-device {"driver":"qxl-vga","id":"video0","max_outputs":1,"ram_size":67108864,"bus":"pcie.0","addr":"0x1"}
-device {"driver":"ich9-intel-hda","id":"sound0","bus":"pcie.0","addr":"0x1b"}
-device {"driver":"hda-duplex","id":"sound0-codec0","bus":"sound0.0","cad":0,"audiodev":"audio1"}
-chardev spicevmc,id=charredir0,name=usbredir
-device {"driver":"usb-redir","chardev":"charredir0","id":"redir0","bus":"usb.0","port":"2"}
-device {"driver":"virtio-balloon-pci","id":"balloon0","bus":"pci.6","addr":"0x0"}
-object {"qom-type":"rng-random","id":"objrng0","filename":"/dev/urandom"}
-device {"driver":"virtio-rng-pci","rng":"objrng0","id":"rng0","bus":"pci.7","addr":"0x0"}
-watchdog-action reset
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-msg timestamp=on)";

const char* const libvirt_guide =
    R"(-object {"qom-type":"secret","id":"masterKey0","format":"raw","file":"/var/lib/libvirt/qemu/domain-1-web/master-key.aes"}
-drive if=none,id=libvirt-pflash0-format,file=json:{"driver":"raw",,"file":{"discard":"unmap",,"driver":"file",,"filename":"/usr/share/OVMF/OVMF_CODE_4M.fd",,"locking":"off"}},readonly=on
-drive if=none,id=libvirt-pflash1-format,file=json:{"driver":"raw",,"file":{"discard":"unmap",,"driver":"file",,"filename":"/var/lib/libvirt/qemu/nvram/web_VARS.fd",,"locking":"off"}},snapshot=on
-machine pc-q35-7.2,usb=off,vmport=off,smm=on,dump-guest-core=off,memory-backend=pc.ram,pflash0=libvirt-pflash0-format,pflash1=libvirt-pflash1-format
-accel kvm
-cpu host,migratable=on
-global driver=cfi.pflash01,property=secure,value=on
-m 1024
-object memory-backend-file,id=pc.ram,size=1073741824,mem-path=/dev/gc0,share=off,x-use-canonical-path-for-ramblock-id=off
-smp 2,sockets=2,cores=1,threads=1
-object {"qom-type":"iothread","id":"iothread1"}
-uuid 6a3b46a8-3c8f-4f7e-9a6f-1d2e3f405162
-no-user-config
-nodefaults
-chardev null,id=charmonitor
-rtc base=utc,driftfix=slew
-global kvm-pit.lost_tick_policy=delay
-no-hpet
-no-shutdown
-global ICH9-LPC.disable_s3=1
-boot strict=on
-device {"driver":"pcie-root-port","port":16,"chassis":1,"id":"pci.1","bus":"pcie.0","multifunction":true,"addr":"0x2"}
-device {"driver":"qemu-xhci","p2":15,"p3":15,"id":"usb","bus":"pci.2","addr":"0x0"}
-drive if=none,id=libvirt-2-format,file=json:{"backing":{"backing":null,,"driver":"qcow2",,"file":{"discard":"unmap",,"driver":"file",,"filename":"/images/base.qcow2",,"locking":"off"}},,"cache":{"direct":true,,"no-flush":false},,"driver":"qcow2",,"file":{"aio":"native",,"cache":{"direct":true,,"no-flush":false},,"discard":"unmap",,"driver":"file",,"filename":"/images/web.qcow2",,"locking":"off"}},snapshot=on
-device {"driver":"virtio-blk-pci","iothread":"iothread1","bus":"pci.4","addr":"0x0","drive":"libvirt-2-format","id":"virtio-disk0","bootindex":1,"write-cache":"on"}
-device {"driver":"ide-cd","bus":"ide.0","id":"sata0-0-0"}
-netdev tap,id=hostnet0,fds=10:11
-device {"driver":"virtio-net-pci","mq":true,"vectors":6,"netdev":"hostnet0","id":"net0","mac":"52:54:00:11:22:33","bus":"pci.1","addr":"0x0"}
-netdev tap,id=hostnet1,fd=12
-device {"driver":"e1000e","netdev":"hostnet1","id":"net1","mac":"52:54:00:11:22:34","bus":"pci.5","addr":"0x0"}
-chardev null,id=charserial0
-device {"driver":"isa-serial","chardev":"charserial0","id":"serial0","index":0}
-chardev null,id=charchannel0
-device {"driver":"virtserialport","bus":"virtio-serial0.0","nr":1,"chardev":"charchannel0","id":"channel0","name":"com.redhat.spice.0"}
-audiodev none,id=audio1
-device {"driver":"qxl-vga","id":"video0","max_outputs":1,"ram_size":67108864,"bus":"pcie.0","addr":"0x1"}
-device {"driver":"ich9-intel-hda","id":"sound0","bus":"pcie.0","addr":"0x1b"}
-device {"driver":"hda-duplex","id":"sound0-codec0","bus":"sound0.0","cad":0,"audiodev":"audio1"}
-chardev null,id=charredir0
-device {"driver":"usb-redir","chardev":"charredir0","id":"redir0","bus":"usb.0","port":"2"}
-device {"driver":"virtio-balloon-pci","id":"balloon0","bus":"pci.6","addr":"0x0"}
-object rng-builtin,id=objrng0
-device {"driver":"virtio-rng-pci","rng":"objrng0","id":"rng0","bus":"pci.7","addr":"0x0"}
-watchdog-action reset
)";

TEST(CommandLine, AsLibvirtWritesThem) {
    expect_derived(libvirt_source, libvirt_guide + own_options(13));
}

TEST(CommandLine, ListsWhatLibvirtsGuideNeeds) {
    const auto guide = derive_guide_command_line(arguments(libvirt_source), one_node());
    ASSERT_TRUE(guide);
    ASSERT_EQ(guide->taps.size(), 2u);
    EXPECT_EQ(guide->taps[0].netdev, "hostnet0");
    EXPECT_EQ(guide->taps[0].queues, 2u);
    EXPECT_TRUE(guide->taps[0].vnet_hdr);
    EXPECT_EQ(guide->taps[0].first_fd, 10);
    EXPECT_EQ(guide->taps[1].queues, 1u);
    EXPECT_FALSE(guide->taps[1].vnet_hdr) << "libvirt sets IFF_VNET_HDR for virtio only";
    EXPECT_EQ(guide->qmp_fd, 13);
    EXPECT_TRUE(guide->needs_scratch);
    EXPECT_THAT(guide->notes, ElementsAre(HasSubstr("balloon")));
}

TEST(CommandLine, SeveralNumaNodesOfAnyKind) {
    GuideSubstitutes substitutes;
    substitutes.memory["r0"] = {"/dev/gc0", 1u << 30};
    substitutes.memory["r1"] = {"/dev/gc,1", 1u << 30, true};
    expect_derived("-machine q35\n-m 2G\n"
                   "-object memory-backend-file,id=r0,size=1G,mem-path=/dev/hugepages,share=on,"
                   "prealloc=on,host-nodes=0,policy=bind\n"
                   "-object memory-backend-ram,id=r1,size=1G\n"
                   "-numa node,nodeid=0,memdev=r0\n-numa node,nodeid=1,memdev=r1",
                   "-machine q35\n-m 2G\n"
                   "-object memory-backend-file,id=r0,size=1G,mem-path=/dev/gc0,share=off\n"
                   "-object memory-backend-file,id=r1,size=1G,mem-path=/dev/gc,,1,share=on\n"
                   "-numa node,nodeid=0,memdev=r0\n-numa node,nodeid=1,memdev=r1\n" +
                       own_options(10),
                   substitutes);
}

TEST(CommandLine, MemPathIsReplacedByTheNode) {
    expect_derived(
        "-m 1G\n-mem-path /dev/hugepages\n-mem-prealloc\n-overcommit mem-lock=on,cpu-pm=on",
        "-m 1G\n-overcommit cpu-pm=on\n" + default_memory + own_options(10));
}

TEST(CommandLine, MemoryWithoutAFileIsTheGuidesOwn) {
    GuideSubstitutes substitutes;
    substitutes.memory["huge"] = {"", 1u << 30, false};
    expect_derived(
        "-object memory-backend-memfd,id=huge,size=1G,share=on,hugetlb=on\n"
        "-machine q35,memory-backend=huge",
        "-object memory-backend-ram,id=huge,size=1G\n-machine q35,memory-backend=huge\n" +
            own_options(10),
        substitutes);
    substitutes.memory.clear();
    substitutes.memory["pc.ram"] = {"", 1u << 30, false};
    expect_derived("-m 1G",
                   "-m 1G\n-object memory-backend-ram,id=pc.ram,size=1073741824,"
                   "x-use-canonical-path-for-ramblock-id=off\n-machine memory-backend=pc.ram\n" +
                       own_options(10),
                   substitutes);
}

TEST(CommandLine, MemoryWithoutANodeIsAnError) {
    auto guide = derive_guide_command_line(
        arguments("-object memory-backend-ram,id=r9,size=1G\n-machine q35,memory-backend=r9"),
        one_node());
    ASSERT_FALSE(guide);
    EXPECT_EQ(guide.error().kind, ErrorKind::usage);
    EXPECT_THAT(guide.error().message, HasSubstr("'r9'"));
    EXPECT_FALSE(derive_guide_command_line(arguments("-machine q35"), {}));
    EXPECT_FALSE(derive_guide_command_line({}, {}));
    GuideSubstitutes two = one_node();
    two.memory["plugged"] = {"/dev/gc1", 1};
    EXPECT_FALSE(derive_guide_command_line(arguments("-machine q35"), two));
}

TEST(CommandLine, DrivesInTheirForms) {
    GuideSubstitutes substitutes = one_node();
    substitutes.backing_files["top.qcow2"] = 2;
    expect_derived(
        "-drive file=top.qcow2,if=virtio,copy-on-read=on,readonly=off\n"
        "-drive if=pflash,format=raw,unit=0,file=CODE.fd,readonly=on\n"
        "-drive if=pflash,format=raw,unit=1,file=VARS.fd\n-pflash more.fd\n"
        "-drive driver=file,filename=/dev/vg/a,if=none,id=a\n"
        "-drive driver=raw,file.driver=host_device,file.filename=/dev/vg/b,if=none,id=b\n"
        "-drive file=null-co://,if=none,id=n\n-fda floppy.img\n"
        "-drive if=none,id=j,file=json:{\"driver\":\"raw\",,\"file\":{\"driver\":\"file\",,"
        "\"filename\":\"x\"}}\n"
        "-blockdev driver=file,node-name=f0,filename=y.img\n"
        "-blockdev driver=qcow2,node-name=d0,file=f0\n-snapshot",
        "-drive file=top.qcow2,if=virtio,file.locking=off,backing.file.locking=off,"
        "backing.backing.file.locking=off,snapshot=on\n"
        "-drive if=pflash,format=raw,unit=0,file=CODE.fd,file.locking=off,readonly=on\n"
        "-drive if=pflash,format=raw,unit=1,file=VARS.fd,file.locking=off,snapshot=on\n"
        "-drive if=pflash,file=more.fd,file.locking=off,snapshot=on\n"
        "-drive driver=file,filename=/dev/vg/a,if=none,id=a,locking=off,snapshot=on\n"
        "-drive driver=raw,file.driver=host_device,file.filename=/dev/vg/b,if=none,id=b,"
        "file.locking=off,snapshot=on\n"
        "-drive file=null-co://,if=none,id=n\n"
        "-drive if=floppy,index=0,file=floppy.img,file.locking=off,snapshot=on\n"
        "-drive if=none,id=j,file=json:{\"driver\":\"raw\",,\"file\":{\"driver\":\"file\",,"
        "\"filename\":\"x\",,\"locking\":\"off\"}},snapshot=on\n"
        "-drive if=none,id=d0,file=json:{\"driver\":\"qcow2\",,\"file\":{\"driver\":\"file\",,"
        "\"filename\":\"y.img\",,\"locking\":\"off\"}},snapshot=on\n" +
            default_memory + own_options(10),
        substitutes);
}

TEST(CommandLine, FiltersOfABlockGraphAreLeftOut) {
    expect_derived(
        "-blockdev driver=file,node-name=f,filename=y.img\n"
        "-blockdev driver=raw,node-name=r,file=f\n"
        "-blockdev driver=throttle,node-name=t,throttle-group=g,file=r\n"
        "-object throttle-group,id=g,x-iops-total=100\n-device virtio-blk-pci,drive=t",
        "-drive if=none,id=t,file=json:{\"driver\":\"raw\",,\"file\":{\"driver\":\"file\",,"
        "\"filename\":\"y.img\",,\"locking\":\"off\"}},snapshot=on\n"
        "-object throttle-group,id=g,x-iops-total=100\n-device virtio-blk-pci,drive=t\n" +
            default_memory + own_options(10));
}

TEST(CommandLine, NetworksInTheirForms) {
    expect_derived("-net nic,model=e1000\n-net user,hostfwd=tcp::1-:1,smb=/srv\n"
                   "-nic bridge,br=br0,mac=52:54:00:00:00:02\n-nic none\n"
                   "-netdev user,id=u,net=10.0.3.0/24,guestfwd=tcp:10.0.2.1:7-cmd:cat,tftp=/srv\n"
                   "-netdev socket,id=s,listen=:1234\n-netdev hubport,id=h,hubid=3\n"
                   "-netdev tap,id=t,vnet_hdr=off,vhost=off\n"
                   "-netdev tap,id=q,fds=3:4:5,vhost=on\n"
                   "-netdev {\"type\":\"stream\",\"id\":\"z\",\"addr\":{\"type\":\"unix\","
                   "\"path\":\"/run/passt\"}}",
                   "-net nic,model=e1000\n-net user,restrict=on\n"
                   "-nic tap,fd=10,mac=52:54:00:00:00:02\n-nic none\n"
                   "-netdev user,id=u,net=10.0.3.0/24,restrict=on\n"
                   "-netdev tap,id=s,fd=11\n-netdev hubport,id=h,hubid=3\n"
                   "-netdev tap,id=t,fd=12\n-netdev tap,id=q,fds=13:14:15\n"
                   "-netdev tap,id=z,fd=16\n" +
                       default_memory + own_options(17));
    auto guide = derive_guide_command_line(
        arguments(
            "-netdev socket,id=s,listen=:1\n-netdev tap,id=t,vnet_hdr=off\n-netdev bridge,id=b\n"
            "-netdev tap,id=k,fd=3"),
        [] {
            auto known = one_node();
            known.vnet_hdr["k"] = true;
            return known;
        }());
    ASSERT_TRUE(guide);
    std::vector<bool> headers;
    for (const TapRequest& tap : guide->taps)
        headers.push_back(tap.vnet_hdr);
    EXPECT_THAT(headers, ElementsAre(false, false, true, true));
}

TEST(CommandLine, CharacterDevicesSoundAndDebugging) {
    expect_derived("-serial stdio\n-serial chardev:c\n-serial none\n-parallel file:/tmp/lp\n"
                   "-debugcon file:/tmp/dbg\n-chardev stdio,id=c,mux=on,signal=off\n"
                   "-mon chardev=c,mode=readline\n-qmp tcp:0:1,server\n-gdb tcp::1234\n-s\n-d int\n"
                   "-D /tmp/log\n-trace events=/tmp/ev\n-audio pa,model=hda\n"
                   "-usb\n-usbdevice tablet\n-loadvm snap\n-incoming tcp:0:4444\n-runas nobody\n"
                   "-set device.video0.vgamem_mb=32\n-machine q35,dumpdtb=/tmp/x",
                   "-serial null\n-serial chardev:c\n-serial none\n-parallel null\n-debugcon null\n"
                   "-chardev null,id=c,mux=on\n-audio none,model=hda\n-usb\n-usbdevice tablet\n"
                   "-set device.video0.vgamem_mb=32\n-machine q35\n" +
                       default_memory + own_options(10));
}

TEST(CommandLine, RefusesByNameWhatHasNoHarmlessForm) {
    EXPECT_THAT(refusal_of("-device vfio-pci,host=0000:01:00.0"), HasSubstr("-device vfio-pci"));
    EXPECT_THAT(refusal_of(R"(-device {"driver":"vfio-pci","host":"0000:01:00.0"})"),
                HasSubstr("-device vfio-pci"));
    for (const char* device :
         {"vhost-user-blk-pci,chardev=c", "vhost-user-fs-pci,chardev=c",
          "virtio-9p-pci,fsdev=f,mount_tag=t", "ivshmem-plain,memdev=m", "usb-host,vendorid=1",
          "scsi-generic,drive=d", "virtio-mem-pci,memdev=m", "vhost-scsi-pci,wwpn=naa.5"})
        EXPECT_THAT(refusal_of(std::string("-device ") + device),
                    HasSubstr(std::string("-device ") +
                              std::string(device).substr(0, std::string(device).find(','))))
            << device;
    EXPECT_THAT(refusal_of("-netdev vhost-user,id=n,chardev=c"), HasSubstr("vhost-user"));
    EXPECT_THAT(refusal_of("-netdev vhost-vdpa,id=n"), HasSubstr("vhost-vdpa"));
    EXPECT_THAT(refusal_of("-virtfs local,path=/,mount_tag=t,security_model=none"),
                HasSubstr("-virtfs"));
    EXPECT_THAT(refusal_of("-fsdev local,id=f,path=/"), HasSubstr("-fsdev"));
    EXPECT_THAT(refusal_of("-plugin /tmp/x.so"), HasSubstr("-plugin"));
    EXPECT_THAT(refusal_of("-readconfig vm.cfg"), HasSubstr("the file cannot be read"));
    EXPECT_THAT(refusal_of("-object sev-guest,id=sev0"),
                HasSubstr("-object sev-guest cannot be made harmless for a guide: its memory"));
    EXPECT_THAT(refusal_of("-machine confidential-guest-support=sev0"),
                HasSubstr("confidential-guest-support"));
    EXPECT_THAT(refusal_of("-drive file=nbd:unix:/run/nbd,if=virtio"),
                HasSubstr("its size is not known"));
    EXPECT_THAT(refusal_of("-drive file.driver=rbd,file.pool=p,if=virtio,id=d"),
                HasSubstr("the disk 'd' on the network"));
    EXPECT_THAT(refusal_of("-drive file=fat:rw:/srv,if=virtio"), HasSubstr("vvfat"));
    EXPECT_THAT(refusal_of("-cdrom /dev/cdrom"), HasSubstr("in a tray"));
    EXPECT_THAT(refusal_of("-blockdev driver=nvme,node-name=n,device=0000:01:00.0,namespace=1"),
                HasSubstr("driver nvme"));
    EXPECT_THAT(refusal_of("-drive file=/dev/fdset/3,if=virtio"), HasSubstr("behind a descriptor"));
    EXPECT_THAT(refusal_of("-set drive.d.file=/etc/passwd"), HasSubstr("-set drive.d.file"));
    EXPECT_THAT(refusal_of("-usbdevice serial"), HasSubstr("-usbdevice serial"));
    EXPECT_THAT(refusal_of("-teleport now"), HasSubstr("-teleport"));
}

TEST(CommandLine, DevicesThatAGuideDoesWithout) {
    const std::string source =
        "-chardev socket,id=chrtpm,path=/run/swtpm\n-tpmdev emulator,id=tpm0,chardev=chrtpm\n"
        "-device {\"driver\":\"tpm-crb\",\"tpmdev\":\"tpm0\",\"id\":\"t\"}\n"
        "-device {\"driver\":\"vhost-vsock-pci\",\"id\":\"v\",\"guest-cid\":3,"
        "\"vhostfd\":\"30\",\"bus\":\"pci.7\",\"addr\":\"0x0\"}\n"
        "-object dbus-vmstate,id=d,addr=unix:path=/run/dbus";
    expect_derived(source, "-chardev null,id=chrtpm\n"
                           "-device virtio-rng-pci,id=v,bus=pci.7,addr=0x0\n" +
                               default_memory + own_options(10));
    const auto guide = derive_guide_command_line(arguments(source), one_node());
    EXPECT_THAT(guide->absent, ElementsAre("tpm-crb", "tpm-crb-cmd", "tpm-ppi", "tpm-emulator",
                                           "virtio-vhost_vsock", "dbus-vmstate"));
    EXPECT_THAT(guide->notes, ElementsAre(HasSubstr("no tpm-crb"), HasSubstr("no vhost-vsock-p")));
    const auto tis = derive_guide_command_line(
        arguments("-tpmdev passthrough,id=t\n-device tpm-tis,tpmdev=t"), one_node());
    ASSERT_TRUE(tis);
    EXPECT_THAT(tis->absent, ElementsAre("tpm-tis", "tpm-ppi", "tpm-emulator"));
}

TEST(CommandLine, AScsiDeviceOfTheHostBecomesADisk) {
    expect_derived("-blockdev driver=host_device,filename=/dev/sdb,node-name=n\n"
                   "-device {\"driver\":\"scsi-block\",\"bus\":\"scsi0.0\",\"lun\":1,"
                   "\"drive\":\"n\",\"id\":\"s\"}",
                   "-drive if=none,id=n,file=json:{\"driver\":\"host_device\",,\"filename\":"
                   "\"/dev/sdb\",,\"locking\":\"off\"},snapshot=on\n"
                   "-device bus=scsi0.0,drive=n,driver=scsi-hd,id=s,lun=1\n" +
                       default_memory + own_options(10));
}

TEST(CommandLine, WhatWasPluggedInAndOut) {
    GuideSubstitutes known = one_node();
    known.unplugged = {"gone"};
    known.plugged = {"-netdev", "tap,id=n,queues=2,vnet_hdr=on", "-device",
                     R"({"driver":"virtio-net-pci","id":"new","netdev":"n"})"};
    expect_derived("-device virtio-rng-pci,id=gone\n-device virtio-rng-pci,id=stays",
                   "-device virtio-rng-pci,id=stays\n-netdev tap,id=n,fds=10:11\n"
                   "-device {\"driver\":\"virtio-net-pci\",\"id\":\"new\",\"netdev\":\"n\"}\n" +
                       default_memory + own_options(12),
                   known);
    // It comes from a QEMU that may have been broken into.
    known.plugged = {"-device", R"({"driver":"vfio-pci","id":"new","host":"0000:01:00.0"})"};
    EXPECT_FALSE(derive_guide_command_line(arguments("-m 1G"), known));
    known.plugged = {"-device", R"({"driver":"isa-serial","id":"new","chardev":"gcqmp"})"};
    EXPECT_FALSE(derive_guide_command_line(arguments("-m 1G"), known));
}

TEST(CommandLine, NamesInOptions) {
    const auto names =
        names_in(arguments("-device virtio-rng-pci,id=a\n-device {\"driver\":\"e1000\",\"id\":"
                           "\"b\"}\n-device e1000\n-readconfig f\n-drive id=d,file=x\n"
                           "-blockdev driver=raw,node-name=n,file=f\n-netdev user,id=u\n"
                           "-object iothread,id=i\n-chardev null,id=c"),
                 {{"f", "[device \"r\"]\ndriver = \"virtio-rng-pci\"\n"}});
    ASSERT_TRUE(names) << names.error().message;
    EXPECT_THAT(names->devices, ElementsAre("a", "b", "r"));
    EXPECT_THAT(names->backends, ElementsAre("c", "d", "i", "n", "u"));
}

TEST(CommandLine, ThePageOfOptionsIsThatOfTheCode) {
    EXPECT_EQ(read_whole_file(GC_DOCS "/reference/guide-options.md").value(), options_page())
        << "write what `gcctl help --guide-options` prints";
    EXPECT_THAT(options_page(), ::testing::Not(HasSubstr("| ? |")));
}

TEST(CommandLine, ADiskThatAGuideMustNotOpenIsEmpty) {
    GuideSubstitutes known = one_node();
    known.disk_sizes = {
        {"libvirt-1-format", 1u << 20}, {"libvirt-1-storage", 1u << 21}, {"d", 4096}};
    const std::string empty = "-drive if=none,id=libvirt-1-format,format=raw,file.driver=null-co,"
                              "file.size=1048576,file.read-zeroes=on,snapshot=on\n"
                              "-device virtio-blk-pci,drive=libvirt-1-format\n" +
                              default_memory + own_options(10);
    for (
        const char* storage :
        {R"({"driver":"rbd","pool":"volumes","image":"v","node-name":"libvirt-1-storage"})",
         R"({"driver":"nbd","server":{"type":"unix","path":"/n"},"node-name":"libvirt-1-storage"})",
         R"({"driver":"iscsi","portal":"h","target":"t","node-name":"libvirt-1-storage"})",
         R"({"driver":"https","url":"https://h/x","node-name":"libvirt-1-storage"})",
         R"({"driver":"file","filename":"/dev/fdset/7","node-name":"libvirt-1-storage"})",
         R"({"driver":"host_cdrom","filename":"/dev/sr0","node-name":"libvirt-1-storage"})"})
        expect_derived(std::string("-blockdev ") + storage +
                           "\n-blockdev {\"node-name\":\"libvirt-1-format\",\"driver\":\"raw\","
                           "\"file\":\"libvirt-1-storage\"}\n"
                           "-device virtio-blk-pci,drive=libvirt-1-format",
                       empty, known);
    for (const char* file :
         {"nbd:unix:/run/nbd", "nbd+unix:///?socket=/n", "/dev/fdset/3", "/dev/sr0",
          R"(json:{"driver":"raw",,"file":{"driver":"rbd",,"pool":"p"}})"})
        expect_derived(fmt::format("-drive file={},if=virtio,id=d,media=cdrom,cache=none", file),
                       "-drive if=virtio,id=d,media=cdrom,format=raw,file.driver=null-co,"
                       "file.size=4096,file.read-zeroes=on,readonly=on\n" +
                           default_memory + own_options(10),
                       known);
}

TEST(CommandLine, AConfigurationFileIsReadLikeOptions) {
    GuideSubstitutes known = one_node();
    known.config_files["/run/vm.conf"] = "# Machine\n[machine]\ntype = \"q35\"\n\n"
                                         "[memory]\n  size = \"1024M\"  \n"
                                         "[drive \"d,0\"]\nfile = \"a,b.img\"\nif = \"none\"\n"
                                         "[device \"rng\"]\ndriver = \"virtio-rng-pci\"\n"
                                         "[chardev \"mon\"]\nbackend = \"socket\"\npath = \"/m\"\n"
                                         "[mon]\nchardev = \"mon\"\nmode = \"control\"\n";
    expect_derived("-readconfig /run/vm.conf\n-nodefaults",
                   "-machine q35\n-m size=1024M\n"
                   "-drive id=d,,0,file=a,,b.img,if=none,file.locking=off,snapshot=on\n"
                   "-device id=rng,driver=virtio-rng-pci\n-chardev null,id=mon\n-nodefaults\n" +
                       default_memory + own_options(10),
                   known);
    for (const char* bad :
         {"type = \"q35\"", "[machine", "[machine]\ntype = q35", "[machine x]",
          "[machine]\nnonsense", "[teleport]\nx = \"y\"", "[device \"v\"]\ndriver = \"vfio-pci\"",
          "[device]\ndriver = \"virtio-serial,x=gcqmp\""}) {
        known.config_files["/run/vm.conf"] = bad;
        EXPECT_FALSE(derive_guide_command_line(arguments("-readconfig /run/vm.conf"), known))
            << bad;
    }
}

TEST(CommandLine, AHelperForReservationsIsLeftOut) {
    expect_derived("-object pr-manager-helper,id=p,path=/run/pr\n"
                   "-blockdev {\"driver\":\"host_device\",\"filename\":\"/dev/sdb\","
                   "\"pr-manager\":\"p\",\"node-name\":\"n\"}\n-device scsi-hd,drive=n",
                   "-drive if=none,id=n,file=json:{\"driver\":\"host_device\",,\"filename\":"
                   "\"/dev/sdb\",,\"locking\":\"off\"},snapshot=on\n-device scsi-hd,drive=n\n" +
                       default_memory + own_options(10));
}

TEST(CommandLine, RefusesABrokenBlockGraph) {
    EXPECT_THAT(refusal_of("-blockdev driver=raw,node-name=r,file=missing"),
                HasSubstr("'missing'"));
    auto ring = derive_guide_command_line(
        arguments(
            "-blockdev driver=raw,node-name=a,file=b\n-blockdev driver=raw,node-name=b,file=a\n"
            "-device virtio-blk-pci,drive=a"),
        one_node());
    ASSERT_FALSE(ring);
    EXPECT_THAT(ring.error().message, HasSubstr("cycle"));
}

/// Lines that a QEMU which was broken into may write over its own command line.
TEST(CommandLine, RefusesWhatABrokenSourceMayWrite) {
    for (const char* option : {
             "-set device.d.driver=vfio-pci",
             "-set device.d.sysfsdev=/sys/bus/pci/devices/0000:01:00.0",
             "-set device.d.evdev=/dev/input/event0",
             "-set chardev.c.path=/run/docker.sock",
             "-global virtio-input-host-device.evdev=/dev/input/event0",
             "-global driver=virtio-net-pci,property=vhostfd,value=7",
             "-device virtio-input-host-pci,evdev=/dev/input/event0",
             "-device virtio-vga-rutabaga",
             "-device uefi-vars-x64,jsonfile=/etc/passwd",
             "-device hv-syndbg,host_ip=10.0.0.1",
             "-device pvrdma,ibdev=mlx5_0",
             "-accel xen",
             "-accel qtest",
             "-accel kvm,device=/dev/other",
             "-accel kvm,rapl=true,rapl-helper-socket=/run/helper",
             "-machine q35,accel=kvm:xen",
             "-machine x-remote",
             "-icount 1,rr=record,rrfile=/etc/cron.d/x",
             "-object x-remote-object,id=r,devid=d,fd=5",
             "-object memory-backend-epc,id=e,size=1M",
             "-object filter-redirector,id=f,netdev=n,outdev=c",
             "-serial chardev:gcqmp",
             "-device isa-serial,chardev=gcqmp",
             R"(-device {"driver":"isa-serial","chardev":"gc\u0071mp"})",
             "-blockdev driver=file,node-name=f,filename=\xff",
         })
        EXPECT_THAT(refusal_of(option), ::testing::Not(HasSubstr("derived:"))) << option;
}

TEST(CommandLine, DropsWhatWritesOutside) {
    expect_derived("-machine q35\n-D /etc/cron.d/x\n-d all\n-pidfile /etc/x\n"
                   "-trace enable=*,file=/etc/x\n-chroot /tmp\n-runas root\n-daemonize\n"
                   "-msg guest-name=on\n-add-fd fd=3,set=1\n-sandbox off\n-qtest-log /etc/x\n"
                   "-object filter-dump,id=f,netdev=n,file=/etc/x\n"
                   "-chardev file,id=c,path=/etc/x,logfile=/etc/y",
                   "-machine q35\n-chardev null,id=c\n" + default_memory + own_options(10));
}

TEST(CommandLine, BoundsTheBlockGraph) {
    std::string lines = "-blockdev driver=file,node-name=n0,filename=x\n";
    for (int i = 1; i < 60; ++i)
        lines +=
            fmt::format("-blockdev driver=qcow2,node-name=n{0},file=n{1},backing=n{1}\n", i, i - 1);
    EXPECT_THAT(refusal_of(lines + "-device virtio-blk-pci,drive=n59"), HasSubstr("block graph"));
}

TEST(CommandLine, BoundsTheDepthOfOptions) {
    const auto error_of = [](const std::string& option) {
        const auto guide = derive_guide_command_line(arguments(option), one_node());
        return guide ? std::string("derived") : guide.error().message;
    };
    const std::string deep(100'000, '[');
    EXPECT_THAT(error_of("-device {\"driver\":" + deep + std::string(deep.size(), ']') + "}"),
                HasSubstr("levels of JSON"));
    std::string dots = "-blockdev driver=raw,node-name=a,";
    for (int i = 0; i < 100'000; ++i)
        dots += "a.";
    EXPECT_THAT(error_of(dots + "b=1"), HasSubstr("dots"));
}

}  // namespace
}  // namespace gc::guide
