// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/migration_job.h"

#include "libvirt/library.h"

#include <condition_variable>
#include <mutex>
#include <thread>

namespace gc::libvirt {
namespace {

using namespace std::chrono_literals;

constexpr auto farewell = 5s;

/// Owns what virTypedParamsAdd*() fills.
class Parameters {
  public:
    explicit Parameters(const Library& library) : library_(library) {}
    ~Parameters() { library_.virTypedParamsFree(list_, count_); }
    Parameters(const Parameters&) = delete;
    Parameters& operator=(const Parameters&) = delete;

    void add(const char* name, const std::string& value) {
        failed_ |=
            library_.virTypedParamsAddString(&list_, &count_, &room_, name, value.c_str()) < 0;
    }
    void add(const char* name, std::uint64_t value) {
        failed_ |= library_.virTypedParamsAddULLong(&list_, &count_, &room_, name, value) < 0;
    }
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] virTypedParameterPtr list() const { return list_; }
    [[nodiscard]] unsigned count() const { return static_cast<unsigned>(count_); }

  private:
    const Library& library_;
    virTypedParameterPtr list_ = nullptr;
    int count_ = 0, room_ = 0;
    bool failed_ = false;
};

Result<void> migrate(const Domain& domain, const MigrationRequest& request) {
    const Library& library = domain.library();
    Parameters parameters(library);
    parameters.add(VIR_MIGRATE_PARAM_URI, request.migrate_uri);
    if (request.mib_per_s > 0)
        parameters.add(VIR_MIGRATE_PARAM_BANDWIDTH, request.mib_per_s);
    unsigned flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER | VIR_MIGRATE_POSTCOPY;
    if (request.persistent)
        flags |= VIR_MIGRATE_PERSIST_DEST;
    if (request.undefine_source)
        flags |= VIR_MIGRATE_UNDEFINE_SOURCE;
    if (request.unsafe)
        flags |= VIR_MIGRATE_UNSAFE;
    if (parameters.failed() ||
        library.virDomainMigrateToURI3(static_cast<virDomainPtr>(domain.get()),
                                       request.destination_uri.c_str(), parameters.list(),
                                       parameters.count(), flags) < 0)
        return library.failed(ErrorKind::io, "migrate");
    return {};
}

}  // namespace

struct MigrationJob::Shared {
    std::mutex mutex;
    std::condition_variable ended;
    std::optional<Result<void>> result;
};

std::unique_ptr<MigrationJob> MigrationJob::start(Domain domain, MigrationRequest request,
                                                  OnEnd on_end) {
    auto shared = std::make_shared<Shared>();
    std::thread([shared, domain = std::move(domain), request = std::move(request),
                 on_end = std::move(on_end)] {
        const Result<void> result = migrate(domain, request);
        {
            const std::lock_guard lock(shared->mutex);
            shared->result = result;
        }
        shared->ended.notify_all();
        on_end(result);
    }).detach();
    return std::unique_ptr<MigrationJob>(new MigrationJob(std::move(shared)));
}

MigrationJob::~MigrationJob() {
    (void)result(farewell);
}

std::optional<Result<void>> MigrationJob::result(Deadline deadline) const {
    std::unique_lock lock(shared_->mutex);
    const auto has_ended = [this] { return shared_->result.has_value(); };
    (void)shared_->ended.wait_for(lock, deadline.left(), has_ended);
    return shared_->result;
}

}  // namespace gc::libvirt
