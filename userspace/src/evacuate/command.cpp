// SPDX-License-Identifier: GPL-2.0-or-later
#include "evacuate/command.h"

#include "evacuate/evacuation.h"
#include "metrics/file.h"
#include "migrate/command.h"
#include "options/arguments.h"
#include "options/value.h"
#include "util/print.h"
#include "util/units.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace gc::evacuate {
namespace {

namespace po = boost::program_options;

constexpr std::size_t max_parallel = 64;

/// Groups of `gcctl migrate` whose options hold for each VM.
constexpr std::array<std::string_view, 4> passed_groups{"Guide", "Order of pages", "Security",
                                                        "Network"};
/// Of these, what evacuate decides by itself.
constexpr std::string_view bandwidth = "bandwidth";
/// The same of its other groups.
constexpr std::array<std::string_view, 8> passed_options{
    "precopy",         "precopy-rounds", "precopy-time",   "precopy-bytes",
    "reconnect-limit", "persistent",     "undefinesource", "unsafe"};

/// Options that need more than a type, as text.
struct Texts {
    std::string to;
    std::string uris;
    std::string domains;
    std::string report;
    std::string reports;
    std::string metrics_file;
};

options::Group evacuation_options(Options& options, Texts& texts) {
    options::Group group("Evacuation");
    group.add_options()("connect", po::value(&options.connect)->required()->value_name("URI"),
                        "libvirt's URI on this host, e.g. qemu:///system")(
        "to", po::value(&texts.to)->required()->value_name("HOST:PORT[,HOST:PORT...]"),
        "where a 'gcctl receive --connect --keep' listens at each destination; each takes one VM "
        "at a time")(
        "destination-uri", po::value(&texts.uris)->value_name("URI[,URI...]"),
        "for each of --to, libvirt there, as libvirt here and gcctl reach it (default: "
        "qemu+ssh://HOST/system)")("domains",
                                   po::value(&texts.domains)->value_name("DOMAIN[,DOMAIN...]"),
                                   "the VMs to move, by name or UUID (default: all that run)")(
        "parallel",
        options::number(&options.parallel, std::size_t{1}, max_parallel)
            ->default_value(std::to_string(options.parallel))
            ->value_name("N"),
        "move at most N VMs at a time. Side by side they take as long as one after the other, and "
        "each waits longer for its pages")(
        "order",
        options::value(&options.order, parse_order)
            ->default_value(std::string(name(options.order)))
            ->value_name("gain|small|large|given"),
        "which VM goes first: the one with the most vCPUs for each byte of memory, the least "
        "memory or the most; a higher priority in its metadata goes before that. given: as in "
        "--domains, else by name")(
        "budget", options::value(&options.budget, parse_rate)->value_name("RATE"),
        "limit for all migrations together, but for pages that VMs wait for, e.g. 100M (bytes/s) "
        "or 800mbit")("allow-overcommit", po::bool_switch(&options.allow_overcommit),
                      "plan as if each destination had memory enough")(
        "dry-run", po::bool_switch(&options.dry_run),
        "show the plan and move nothing; exit status 3 if a VM has no place");
    return group;
}

options::Group output_options(Options& options, Texts& texts) {
    options::Group group("Output");
    group.add_options()("report", po::value(&texts.report)->value_name("FILE"),
                        "write how each VM fared to FILE, as JSON")(
        "reports", po::value(&texts.reports)->value_name("DIRECTORY"),
        "keep the report of each migration there, as DOMAIN.json")(
        "metrics-file", po::value(&texts.metrics_file)->value_name("FILE"),
        "add the evacuation and its migrations to FILE, in Prometheus' text format, for "
        "node_exporter's textfile collector")("json", po::bool_switch(&options.json),
                                              "print events as JSON, one object a line")(
        "quiet,q", po::bool_switch(&options.quiet), "print warnings and errors only");
    return group;
}

/// Options of gcctl migrate that it is given as they were typed.
std::vector<options::Group> groups_of_migrate() {
    std::vector<options::Group> groups;
    options::Group chosen("Each migration (see gcctl-migrate(8))");
    for (const options::Group& group : migrate::manual().groups) {
        const bool whole = std::ranges::find(passed_groups, group.heading()) != passed_groups.end();
        options::Group passed(group.heading());
        for (const auto& option : group.options()) {
            if (whole && option->long_name() != bandwidth)
                passed.add(option);
            if (std::ranges::find(passed_options, option->long_name()) != passed_options.end())
                chosen.add(option);
        }
        if (whole)
            groups.push_back(std::move(passed));
    }
    groups.push_back(std::move(chosen));
    return groups;
}

options::Manual manual_of(Options& options, Texts& texts) {
    std::vector<options::Group> groups{evacuation_options(options, texts)};
    for (options::Group& group : groups_of_migrate())
        groups.push_back(std::move(group));
    groups.push_back(output_options(options, texts));
    groups.push_back(options::general_options());
    return {
        .name = "evacuate",
        .synopsis = "--connect URI --to HOST:PORT[,HOST:PORT...] [options]",
        .summary = "move all VMs of libvirt's to other hosts (run at the source)",
        .description =
            "Plans which VM goes to which host, by the memory that is left there and by CPU "
            "models, shows the plan, and moves the VMs by 'gcctl migrate --connect', each in "
            "a process of its own. A VM that is refused or fails does not stop the others.\n\n"
            "The priority is an element of the domain's metadata: virsh metadata DOMAIN --uri "
            "urn:guidecopy:evacuate --key gc --set \"<evacuate priority='5'/>\". Without one "
            "it is 0.\n\n"
            "SIGINT or SIGTERM begins no other VM and ends when those in progress have ended; a "
            "second one rolls back those that were not handed over yet. Type the command again "
            "to continue: VMs that have moved are not here any more.\n\n"
            "Exit status: 0, if all VMs have moved; else the first of these that is true: 4, "
            "if one of them may be stopped (see gcctl status); 130, if it was interrupted; 3, "
            "if nothing was touched; 1, if a VM is still here.",
        .operand = {},
        .groups = std::move(groups),
        .subcommands = {}};
}

std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> words;
    for (std::size_t begin = 0; begin <= list.size();) {
        const std::size_t end = std::min(list.find(',', begin), list.size());
        words.emplace_back(list.substr(begin, end - begin));
        begin = end + 1;
    }
    return words;
}

/// The options of a group that were typed, as they are typed.
void forward(const options::Group& group, const po::variables_map& values,
             std::vector<std::string>& arguments) {
    for (const auto& option : group.options()) {
        const std::string& name = option->long_name();
        if (!values.contains(name) || values[name].defaulted())
            continue;
        const boost::any& value = values[name].value();
        if (const auto* flag = boost::any_cast<bool>(&value)) {
            if (*flag)
                arguments.push_back("--" + name);
        } else if (const auto* all = boost::any_cast<std::vector<std::string>>(&value)) {
            for (const std::string& each : *all)
                arguments.push_back(fmt::format("--{}={}", name, each));
        } else if (const auto* text = boost::any_cast<std::string>(&value)) {
            arguments.push_back(fmt::format("--{}={}", name, *text));
        }
    }
}

Result<void> convert_destinations(const Texts& texts, Options& options) {
    const std::vector<std::string> uris =
        texts.uris.empty() ? std::vector<std::string>() : split(texts.uris);
    const std::vector<std::string> ends = split(texts.to);
    if (!uris.empty() && uris.size() != ends.size())
        return fail(ErrorKind::usage,
                    "--destination-uri: expected as many as --to has ({}), found {}", ends.size(),
                    uris.size());
    for (std::size_t i = 0; i < ends.size(); ++i) {
        const auto to = Endpoint::parse_destination(ends[i]);
        if (!to)
            return wrap(to.error(), "--to");
        for (const Destination& other : options.destinations)
            if (other.to.str() == to->str())
                return fail(ErrorKind::usage, "--to names {} twice", to->str());
        options.destinations.push_back(
            {*to, uris.empty() ? fmt::format("qemu+ssh://{}/system", to->host) : uris[i]});
    }
    return {};
}

/// Errors: usage, also if gcctl migrate would not take its options.
Result<void> convert(const Texts& texts, const po::variables_map& values, Options& options) {
    GC_CHECK(convert_destinations(texts, options));
    if (!texts.domains.empty())
        options.domains = split(texts.domains);
    if (!texts.report.empty())
        options.report = texts.report;
    if (!texts.reports.empty())
        options.reports = texts.reports;
    if (!texts.metrics_file.empty())
        options.metrics_file = texts.metrics_file;
    if (options.json && options.quiet)
        return fail(ErrorKind::usage, "--json and --quiet exclude each other");
    for (const options::Group& group : groups_of_migrate())
        forward(group, values, options.migrate);
    std::vector<std::string> example = migrate_arguments(
        options, {.name = "vm", .uuid = "vm", .unfit = {}, .unfit_for = {}},
        {.uri = options.destinations[0].uri, .ports = {}}, options.destinations[0].to, 0, "report");
    example.erase(example.begin());  // "migrate"
    const auto taken = migrate::parse(example);
    return taken ? Result<void>{} : Unexpected(taken.error());
}

Result<std::optional<Options>> parse(std::span<const std::string> arguments) {
    Options options;
    Texts texts;
    GC_TRY(const auto values, options::parse(manual_of(options, texts), arguments));
    if (!values)
        return std::nullopt;
    GC_CHECK(convert(texts, *values, options));
    return options;
}

/// Where the reports of the migrations are: the user's directory, or one that goes away.
class Reports {
  public:
    static Result<Reports> make(const Options& options) {
        if (options.reports) {
            if (::mkdir(options.reports->c_str(), 0700) != 0 && errno != EEXIST)
                return fail(ErrorKind::unsupported, "cannot make the directory {}: {}",
                            *options.reports, std::strerror(errno));
            return Reports(*options.reports, false);
        }
        std::error_code ignored;
        std::string name =
            (std::filesystem::temp_directory_path(ignored) / "gcctl-evacuate-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
            return fail_errno(errno, "make the directory " + name);
        return Reports(name, true);
    }
    Reports(Reports&& other) noexcept
        : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, false)) {}
    Reports& operator=(Reports&&) = delete;
    Reports(const Reports&) = delete;
    Reports& operator=(const Reports&) = delete;
    ~Reports() {
        std::error_code ignored;
        if (temporary_)
            std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    Reports(std::string path, bool temporary) : path_(std::move(path)), temporary_(temporary) {}

    std::string path_;
    bool temporary_;
};

Result<int> evacuate(const Options& options) {
    GC_TRY(const Signals signals, Signals::block());  // in all threads, so first
    Voice voice(options.json, options.quiet);
    GC_TRY(const Found found, find_facts(options));
    const Plan plan = make_plan(found.facts, options.order, options.allow_overcommit);
    voice.plan(found, plan, options.order);
    if (options.dry_run)
        return plan.kept.empty() ? options::exit_done : options::exit_refused;
    if (options.metrics_file)
        GC_CHECK(metrics::check(*options.metrics_file));
    GC_TRY(const Reports reports, Reports::make(options));
    const Outcome outcome = Evacuation(options, found, plan, voice, signals, reports.path()).run();
    voice.done(outcome);
    if (options.report)
        // The exit status is about the VMs.
        if (auto written = write_whole_file(*options.report, to_json(outcome).dump(2) + "\n");
            !written)
            (void)options::complain("evacuate", written.error());
    return exit_status(outcome);
}

}  // namespace

options::Manual manual() {
    static Options options;
    static Texts texts;
    return manual_of(options, texts);
}

int command(std::span<const std::string> arguments) {
    return options::run("evacuate", arguments, parse, evacuate);
}

}  // namespace gc::evacuate
