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
}

template <typename Block, typename Field> void describe_block(Block& block, Field& field) {
    field("name", block.name);
    field("length", block.length);
    field("max_length", block.max_length);
    field("page_size", block.page_size);
    field("file", block.file);
}

Json devices_to_json(const VmFacts::Devices& devices) {
    Json object = Json::object();
    for (const auto& [type, count] : devices)
        object[type] = count;
    return object;
}

Unexpected invalid() {
    return fail(ErrorKind::protocol, "invalid blocks or devices in the other gcctl's {}", what);
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
    return facts;
}

}  // namespace gc::peer
