// SPDX-License-Identifier: GPL-2.0-or-later
#include "peer/message.h"

#include "peer/fields.h"

#include <algorithm>
#include <utility>

namespace gc::peer {
namespace {

constexpr std::array<std::string_view, message_types> names{
    "ready",   "resumed",  "completed", "refused", "failed",
    "touched", "measured", "commit",    "abandon",
};

/// Two numbers of up to 20 digits each stay well below max_line.
constexpr std::size_t runs_per_message = 1000;

template <typename M, typename T>
concept Is = std::same_as<std::remove_const_t<M>, T>;

template <Is<Ready> M, typename Field> void describe(M& message, Field& field) {
    field("version", message.version, Need::later);
    field("qemu", message.qemu);
    field("preempt", message.preempt);
    field("measure_ms", message.measure);
    field("seal", message.seal);
}
template <Is<Resumed> M, typename Field> void describe(M& /*message*/, Field& /*field*/) {}
template <Is<Refused> M, typename Field> void describe(M& message, Field& field) {
    field("reason", message.reason);
    field("proof", message.proof);
}
template <Is<Failed> M, typename Field> void describe(M& message, Field& field) {
    field("reason", message.reason);
}
template <Is<Commit> M, typename Field> void describe(M& message, Field& field) {
    field("run", message.run);
}
template <Is<Abandon> M, typename Field> void describe(M& message, Field& field) {
    field("reason", message.reason);
}

template <typename M> void write(const M& message, Json& object) {
    FieldWriter writer(object);
    describe(message, writer);
}

void write(const Ready& message, Json& object) {
    FieldWriter writer(object);
    describe(message, writer);
    if (message.vm)
        object["vm"] = to_json(*message.vm);
    if (message.mirror)
        object["mirror"] = {{"nics", message.mirror->nics}, {"reason", message.mirror->reason}};
    for (const Compression each : message.compressions)
        object["compressions"].push_back(name(each));
}

void write(const Completed& message, Json& object) {
    if (message.demand)
        object["demand"] = report::to_json(*message.demand);
    if (!message.problem.empty())
        object["problem"] = message.problem;
    if (message.qemu)
        object["qemu"] = report::to_json(*message.qemu);
    if (message.delivered)
        object["delivered"] = {{"packets", message.delivered->packets},
                               {"refused", message.delivered->refused}};
}

void write(const Touched& message, Json& object) {
    object["block"] = message.pages.block;
    object["asked"] = message.pages.asked;
    Json runs = Json::array();
    for (const measure::Run& run : message.pages.runs) {
        runs.push_back(run.first);
        runs.push_back(run.count);
    }
    object["runs"] = std::move(runs);
}

void write(const Measured& message, Json& object) {
    if (!message.problem.empty()) {
        object["problem"] = message.problem;
        return;
    }
    object["time_ms"] = message.time_ms;
    object["unresolved"] = message.unresolved;
}

template <typename M> Result<void> read(const Json& object, std::string_view what, M& message) {
    FieldReader reader(object, what);
    describe(message, reader);
    return std::move(reader.result);
}

Result<MirrorOffer> mirror_from_json(const Json& json) {
    const auto nics = json.is_object() ? json.find("nics") : json.end();
    if (!json.is_object() || nics == json.end() || !nics->is_array() ||
        !std::ranges::all_of(*nics, [](const Json& nic) { return nic.is_string(); }))
        return fail(ErrorKind::protocol,
                    "invalid \"mirror\" in the other gcctl's ready: expected a list of NICs");
    MirrorOffer offer;
    FieldReader reader(json, "mirror");
    reader("reason", offer.reason);
    GC_CHECK(reader.result);
    for (const Json& nic : *nics)
        offer.nics.push_back(printable(nic.get_ref<const std::string&>()));
    return offer;
}

/// Those that this gcctl knows.
Result<std::vector<Compression>> compressions_from_json(const Json& json) {
    if (!json.is_array() ||
        !std::ranges::all_of(json, [](const Json& each) { return each.is_string(); }))
        return fail(
            ErrorKind::protocol,
            "invalid \"compressions\" in the other gcctl's ready: expected a list of names");
    std::vector<Compression> known;
    for (const Json& each : json)
        if (const auto how = compression_of(each.get_ref<const std::string&>()))
            known.push_back(*how);
    return known;
}

Result<void> read(const Json& object, std::string_view what, Ready& message) {
    FieldReader reader(object, what);
    describe(message, reader);
    GC_CHECK(reader.result);
    if (const auto vm = object.find("vm"); vm != object.end()) {
        GC_TRY(message.vm, vm_facts_from_json(*vm));
    }
    if (const auto mirror = object.find("mirror"); mirror != object.end()) {
        GC_TRY(message.mirror, mirror_from_json(*mirror));
    }
    if (const auto list = object.find("compressions"); list != object.end()) {
        GC_TRY(message.compressions, compressions_from_json(*list));
    }
    return {};
}

Result<void> read(const Json& object, std::string_view what, Completed& message) {
    FieldReader reader(object, what);
    reader("problem", message.problem, Need::later);
    // The VM is complete: figures that cannot be read are a problem of the report only.
    const auto demand = object.find("demand");
    auto figures = report::demand_from_json(demand == object.end() ? Json() : *demand);
    if (figures)
        message.demand = *std::move(figures);
    else if (message.problem.empty())
        message.problem = printable(figures.error().message);
    if (const auto qemu = object.find("qemu"); qemu != object.end())
        if (auto of_qemu = report::qemu_postcopy_from_json(*qemu))
            message.qemu = *std::move(of_qemu);
    if (const auto delivered = object.find("delivered");
        delivered != object.end() && delivered->is_object()) {
        Delivered counts;
        FieldReader of_delivered(*delivered, "delivered");
        of_delivered("packets", counts.packets);
        of_delivered("refused", counts.refused);
        if (of_delivered.result)
            message.delivered = counts;
    }
    return std::move(reader.result);
}

Result<void> read(const Json& object, std::string_view what, Touched& message) {
    FieldReader reader(object, what);
    // A RAM block's name is compared, never printed.
    reader("block", message.pages.block);
    reader("asked", message.pages.asked);
    GC_CHECK(reader.result);
    const auto runs = object.find("runs");
    if (runs == object.end() || !runs->is_array() || runs->size() % 2 != 0 ||
        !std::ranges::all_of(*runs, [](const Json& n) { return n.is_number_unsigned(); }))
        return fail(ErrorKind::protocol,
                    "invalid \"runs\" in the other gcctl's {}: expected pairs of numbers", what);
    for (std::size_t i = 0; i < runs->size(); i += 2)
        message.pages.runs.push_back(
            {(*runs)[i].get<std::uint64_t>(), (*runs)[i + 1].get<std::uint64_t>()});
    return {};
}

Result<void> read(const Json& object, std::string_view what, Measured& message) {
    FieldReader reader(object, what);
    const Need need = object.contains("problem") ? Need::later : Need::always;
    reader("problem", message.problem, Need::later);
    reader("time_ms", message.time_ms, need);
    reader("unresolved", message.unresolved, need);
    return std::move(reader.result);
}

template <std::size_t index>
Result<Message> read_alternative(const Json& object, std::string_view what) {
    std::variant_alternative_t<index, Message> message;
    GC_CHECK(read(object, what, message));
    return Message(std::move(message));
}

Result<Message> read_message(const Json& object, std::size_t index) {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
        using Read = Result<Message> (*)(const Json&, std::string_view);
        constexpr std::array<Read, message_types> readers{read_alternative<i>...};
        return readers[index](object, names[index]);
    }
    (std::make_index_sequence<message_types>{});
}

}  // namespace

std::string_view name(MessageType type) {
    return names[static_cast<std::size_t>(type)];
}

std::string encode(const Message& message) {
    Json object{{"type", name(type_of(message))}};
    std::visit([&](const auto& what) { write(what, object); }, message);
    return object.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
}

Result<std::optional<Message>> decode(std::string_view line) {
    GC_TRY(const Json object, parse_object(line));
    const auto type = object.find("type");
    if (type == object.end() || !type->is_string())
        return fail(ErrorKind::protocol, "expected \"type\" in the other gcctl's message, found {}",
                    printable(line, 60));
    const auto found = std::ranges::find(names, type->get_ref<const std::string&>());
    if (found == names.end())
        return std::nullopt;
    GC_TRY(Message message, read_message(object, static_cast<std::size_t>(found - names.begin())));
    return std::optional(std::move(message));
}

std::vector<Touched> split(const measure::Touched& pages) {
    std::vector<Touched> messages;
    for (std::size_t at = 0; at < pages.runs.size(); at += runs_per_message) {
        const auto from = pages.runs.begin() + static_cast<std::ptrdiff_t>(at);
        const auto count =
            static_cast<std::ptrdiff_t>(std::min(runs_per_message, pages.runs.size() - at));
        messages.push_back({{pages.block, pages.asked, {from, from + count}}});
    }
    return messages;
}

}  // namespace gc::peer
