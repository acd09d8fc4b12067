// SPDX-License-Identifier: GPL-2.0-or-later
#include "qmp/migration.h"

#include "fake_monitor.h"
#include "paused_qemu.h"

#include <array>
#include <cstring>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace gc::qmp {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

/// A monitor that replies to commands from a script, and records the commands.
struct Scripted {
    explicit Scripted(std::vector<json> answers)
        : monitor([this, answers = std::move(answers)](FakeMonitor& m) {
              m.greet();
              for (const json& answer : answers) {
                  asked.push_back(m.receive());
                  m.reply(asked.back(), answer);
              }
              m.linger();
          }),
          client(Client::from_fd(monitor.take_client_end()).value()) {}

    std::vector<json> asked;
    FakeMonitor monitor;
    Client client;
};

const json capabilities = {{{"capability", "events"}, {"state", false}},
                           {{"capability", "postcopy-ram"}, {"state", true}}};

TEST(Migration, QueriesCapabilities) {
    Scripted qemu(std::vector<json>{capabilities});
    EXPECT_EQ(query_capabilities(qemu.client).value(),
              (Capabilities{{"events", false}, {"postcopy-ram", true}}));
}

TEST(Migration, SetsCapabilities) {
    Scripted qemu(std::vector<json>{json::object()});
    EXPECT_TRUE(set_capabilities(qemu.client, {{"events", true}}));
    EXPECT_EQ(qemu.asked.at(0)["arguments"],
              json({{"capabilities", {{{"capability", "events"}, {"state", true}}}}}));
}

TEST(Migration, RefusesCapabilitiesOfUnknownForm) {
    Scripted qemu(std::vector<json>{{{"events", true}}, {{{"capability", 1}, {"state", true}}}});
    EXPECT_EQ(query_capabilities(qemu.client).error().kind, ErrorKind::protocol);
    EXPECT_EQ(query_capabilities(qemu.client).error().kind, ErrorKind::protocol);
}

TEST(Migration, ReportsTheStatus) {
    Scripted qemu(std::vector<json>{json::object(),
                                    {{"status", "failed"}, {"error-desc", "no route"}},
                                    {{"status", "postcopy-active"}},
                                    {{"status", "completed"}},
                                    json::array()});
    EXPECT_EQ(query_migrate(qemu.client)->status, "none");
    auto failed = query_migrate(qemu.client);
    EXPECT_TRUE(failed->failed());
    EXPECT_EQ(failed->error, "no route");
    EXPECT_FALSE(query_migrate(qemu.client)->idle());
    EXPECT_TRUE(query_migrate(qemu.client)->completed());
    EXPECT_EQ(query_migrate(qemu.client).error().kind, ErrorKind::protocol);
}

TEST(Migration, ReportsTheRunState) {
    Scripted qemu(
        std::vector<json>{{{"status", "inmigrate"}, {"running", false}}, {{"status", "paused"}}});
    auto state = query_status(qemu.client);
    ASSERT_TRUE(state);
    EXPECT_EQ(state->status, "inmigrate");
    EXPECT_FALSE(state->running);
    EXPECT_FALSE(query_status(qemu.client));
}

TEST(Migration, SendsTheCommandsAsQemuSpellsThem) {
    Scripted qemu(std::vector<json>(8, json::object()));
    ASSERT_TRUE(migrate_to_socket(qemu.client));
    ASSERT_TRUE(migrate_incoming(qemu.client, "unix:/b"));
    ASSERT_TRUE(migrate_start_postcopy(qemu.client));
    ASSERT_TRUE(migrate_cancel(qemu.client));
    ASSERT_TRUE(stop(qemu.client));
    ASSERT_TRUE(cont(qemu.client));
    ASSERT_TRUE(set_parameters(qemu.client, {{"max-bandwidth", 1 << 20}}));
    std::vector<std::string> names;
    for (const json& command : qemu.asked)
        names.push_back(command["execute"]);
    EXPECT_THAT(names, ElementsAre("getfd", "migrate", "migrate-incoming", "migrate-start-postcopy",
                                   "migrate_cancel", "stop", "cont", "migrate-set-parameters"));
    EXPECT_EQ(qemu.asked[1]["arguments"], json({{"uri", "fd:gcctl-migration"}}));
    EXPECT_EQ(qemu.asked[7]["arguments"], json({{"max-bandwidth", 1 << 20}}));
}

TEST(Migration, TellsADestinationToStayAfterAnError) {
    Scripted qemu(std::vector<json>(1, json::object()));
    ASSERT_TRUE(migrate_incoming(qemu.client, "unix:/b", OnError::stay));
    EXPECT_EQ(qemu.asked[0]["arguments"], json({{"uri", "unix:/b"}, {"exit-on-error", false}}));
}

TEST(Migration, ReportsTheParametersThatMatter) {
    Scripted qemu(std::vector<json>{
        {{"mode", "cpr-reboot"}, {"tls-creds", "t"}, {"max-bandwidth", 7}}, json::object()});
    const auto parameters = query_parameters(qemu.client);
    ASSERT_TRUE(parameters);
    EXPECT_EQ(parameters->mode, "cpr-reboot");
    EXPECT_EQ(parameters->tls_creds, "t");
    EXPECT_EQ(parameters->numbers.at("max-bandwidth"), 7);
    EXPECT_EQ(query_parameters(qemu.client)->mode, "");
}

TEST(Migration, ClosesTheDescriptorThatQemuDidNotTake) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        m.reply(m.receive(), json::object());
        m.refuse(m.receive(), "GenericError", "guest is waiting for an incoming migration");
        const json last = m.receive();
        EXPECT_EQ(last["execute"], "closefd");
        m.reply(last, json::object());
        m.linger();
    });
    Client client = Client::from_fd(monitor.take_client_end()).value();
    const auto refused = migrate_to_socket(client);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("waiting for an incoming"), std::string::npos);
}

/// A real QEMU migrates a paused VM to the socket, and again after that was cut off.
TEST(Migration, QemuTakesTheSocket) {
    PausedQemu qemu({"-machine", "q35", "-m", "16"});
    Client client = qemu.connect();
    for (int i = 0; i < 2; ++i) {
        const UniqueFd stream = migrate_to_socket(client).value();
        std::array<std::byte, 4> magic{};
        ASSERT_TRUE(read_whole(stream.get(), magic).value());
        EXPECT_EQ(std::memcmp(magic.data(), "QEVM", 4), 0);
        (void)migrate_cancel(client);
        for (int tries = 0; tries < 500 && !query_migrate(client)->idle(); ++tries)
            ::usleep(10'000);
        EXPECT_TRUE(query_migrate(client)->idle());
    }
}

}  // namespace
}  // namespace gc::qmp
