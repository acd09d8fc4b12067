// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/vm_facts.h"

#include "peer/fields.h"

namespace gc::peer {
namespace {

constexpr std::string_view what = "description of its VM";

template <typename Facts, typename Field> void describe(Facts& facts, Field& field) {
    field("qemu", facts.qemu);
    field("machine", facts.machine);
    field("cpus", facts.cpus);
    field("cpu_model", facts.cpu_model);
    field("cpu_features", facts.cpu_features);
    field("host", facts.host);
    field("tls_creds", facts.tls_creds, Need::later);
    field("mode", facts.mode, Need::later);
    field("memory", facts.memory, Need::later);
    field("memory_slots", facts.memory_slots);
    field("overcommit", facts.overcommit, Need::later);
}

template <typename Block, typename Field> void describe_block(Block& block, Field& field) {
    field("name", block.name);
    field("length", block.length);
    field("max_length", block.max_length);
    field("page_size", block.page_size);
    field("file", block.file);
}

template <typename Disk, typename Field> void describe_disk(Disk& disk, Field& field) {
    field("name", disk.name);
    field("image", disk.image);
    field("size", disk.size);
    field("read_only", disk.read_only);
    field("storage", disk.storage);
    field("file", disk.file);
    field("inode", disk.inode);
    field("locks", disk.locks);
    field("own_locks", disk.own_locks);
}

Json devices_to_json(const VmFacts::Devices& devices) {
    Json object = Json::object();
    for (const auto& [type, count] : devices)
        object[type] = count;
    return object;
}

Unexpected invalid() {
    return fail(ErrorKind::protocol, "invalid lists in the other gcctl's {}", what);
}

Result<VmFacts::Devices> devices_in(const Json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_object())
        return invalid();
    VmFacts::Devices devices;
    for (const auto& [type, count] : found->items()) {
        if (!count.is_number_unsigned())
            return invalid();
        devices[printable(type)] = count.get<std::uint64_t>();
    }
    return devices;
}

Result<std::vector<std::string>> capabilities_in(const Json& object) {
    std::vector<std::string> names;
    const auto found = object.find("capabilities");
    if (found == object.end())
        return names;
    if (!found->is_array())
        return invalid();
    for (const Json& name : *found) {
        if (!name.is_string())
            return invalid();
        names.push_back(printable(name.get_ref<const std::string&>()));
    }
    return names;
}

Result<std::optional<std::vector<VmFacts::Disk>>> disks_in(const Json& object) {
    const auto found = object.find("disks");
    if (found == object.end())
        return std::nullopt;
    if (!found->is_array())
        return invalid();
    std::vector<VmFacts::Disk> disks;
    for (const Json& row : *found) {
        if (!row.is_object())
            return invalid();
        FieldReader fields(row, what);
        describe_disk(disks.emplace_back(), fields);
        GC_CHECK(fields.result);
    }
    return disks;
}

}  // namespace

Json to_json(const VmFacts& facts) {
    Json object = Json::object();
    FieldWriter writer(object);
    describe(facts, writer);
    Json blocks = Json::array();
    for (const VmFacts::Block& block : facts.blocks) {
        FieldWriter row(blocks.emplace_back(Json::object()));
        describe_block(block, row);
    }
    object["blocks"] = std::move(blocks);
    object["devices"] = devices_to_json(facts.devices);
    object["board"] = devices_to_json(facts.board);
    object["capabilities"] = facts.capabilities;
    if (!facts.disks)
        return object;
    Json disks = Json::array();
    for (const VmFacts::Disk& disk : *facts.disks) {
        FieldWriter row(disks.emplace_back(Json::object()));
        describe_disk(disk, row);
    }
    object["disks"] = std::move(disks);
    return object;
}

Result<VmFacts> vm_facts_from_json(const Json& json) {
    if (!json.is_object())
        return invalid();
    VmFacts facts;
    FieldReader reader(json, what);
    describe(facts, reader);
    GC_CHECK(reader.result);
    const auto blocks = json.find("blocks");
    if (blocks == json.end() || !blocks->is_array())
        return invalid();
    for (const Json& row : *blocks) {
        if (!row.is_object())
            return invalid();
        FieldReader fields(row, what);
        describe_block(facts.blocks.emplace_back(), fields);
        GC_CHECK(fields.result);
    }
    GC_TRY(facts.devices, devices_in(json, "devices"));
    GC_TRY(facts.board, devices_in(json, "board"));
    GC_TRY(facts.capabilities, capabilities_in(json));
    GC_TRY(facts.disks, disks_in(json));
    return facts;
}

}  // namespace gc::peer
