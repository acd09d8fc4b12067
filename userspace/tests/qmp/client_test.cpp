// SPDX-License-Identifier: GPL-2.0-or-later
#include "fake_monitor.h"
#include "qmp/event.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/un.h>

namespace gc::qmp {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;

constexpr auto patience = 5'000ms;
constexpr auto brief = 60ms;

constexpr const char* stop_event =
    R"({"timestamp": {"seconds": 1700000000, "microseconds": 250000}, "event": "STOP"})"
    "\r\n";

Result<Client> connect_to(FakeMonitor& monitor, std::chrono::milliseconds timeout = patience) {
    return Client::from_fd(monitor.take_client_end(), timeout, "test monitor");
}

TEST(QmpClient, ReadsTheVersionFromTheGreeting) {
    FakeMonitor monitor([](FakeMonitor& m) { m.greet(); });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_EQ(client->version().text(), "7.2.22 (Debian 1:7.2+dfsg-7)");
    EXPECT_TRUE(client->version().at_least(7, 2));
    EXPECT_TRUE(client->version().at_least(6, 9));
    EXPECT_FALSE(client->version().at_least(7, 3));
    EXPECT_FALSE(client->version().at_least(8, 0));
}

TEST(QmpClient, SendsCapabilitiesFirst) {
    json first;
    FakeMonitor monitor([&](FakeMonitor& m) {
        m.send(FakeMonitor::greeting);
        first = m.receive();
        m.reply(first, json::object());
    });
    ASSERT_TRUE(connect_to(monitor));
    EXPECT_EQ(first["execute"], "qmp_capabilities");
    EXPECT_FALSE(first.contains("arguments"));
}

TEST(QmpClient, RunsCommandsOutOfBand) {
    json seen;
    FakeMonitor monitor([&](FakeMonitor& m) {
        m.greet();
        seen = m.receive();
        m.reply(seen, json::object());
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->execute_out_of_band("migrate-recover", {{"uri", "unix:x"}}));
    EXPECT_EQ(seen["exec-oob"], "migrate-recover");
    EXPECT_FALSE(seen.contains("execute"));
}

TEST(QmpClient, ReturnsWhatTheCommandReturned) {
    json seen;
    FakeMonitor monitor([&](FakeMonitor& m) {
        m.greet();
        seen = m.receive();
        m.reply(seen, {{"status", "running"}});
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto reply = client->execute("query-x", {{"a", 1}});
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(*reply, json({{"status", "running"}}));
    EXPECT_EQ(seen["arguments"], json({{"a", 1}}));
}

TEST(QmpClient, GivesQemusClassAndTextOfARefusalAndGoesOn) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        m.refuse(m.receive(), "GenericError", "Postcopy is not supported");
        m.reply(m.receive(), 1);
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto refused = client->execute("migrate-set-capabilities", json::object());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, ErrorKind::unsupported);
    EXPECT_THAT(refused.error().message,
                HasSubstr("'migrate-set-capabilities': GenericError: Postcopy is not supported"));
    EXPECT_TRUE(client->execute("x"));
}

TEST(QmpClient, KeepsEventsThatComeBeforeAReply) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        auto command = m.receive();
        m.send(stop_event + FakeMonitor::reply_text(command, json::object()) +
               R"({"event": "MIGRATION", "data": {"status": "active"}})" + "\r\n");
        m.linger();
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->execute("stop"));
    ASSERT_TRUE(client->has_event());
    auto first = client->next_event(0ms);
    ASSERT_TRUE(first && *first);
    EXPECT_EQ((*first)->name, "STOP");
    EXPECT_EQ((*first)->data, json::object());
    EXPECT_EQ((*first)->emitted.time_since_epoch(), 1700000000250ms);
    EXPECT_LE((*first)->arrived, std::chrono::steady_clock::now());
    auto second = client->next_event(patience);
    ASSERT_TRUE(second && *second);
    EXPECT_EQ((*second)->data["status"], "active");
    auto none = client->next_event(0ms);
    ASSERT_TRUE(none);
    EXPECT_FALSE(*none);
}

TEST(QmpClient, WaitsForAnEvent) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        ::usleep(20'000);
        m.send(stop_event);
        m.linger();
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto event = client->next_event(patience);
    ASSERT_TRUE(event && *event);
    EXPECT_EQ((*event)->name, "STOP");
}

TEST(QmpClient, JoinsAReplySplitIntoSingleBytes) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        for (char c : FakeMonitor::reply_text(m.receive(), "whole")) {
            m.send(std::string_view(&c, 1));
            ::usleep(100);
        }
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto reply = client->execute("x");
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(*reply, "whole");
}

TEST(QmpClient, ALateReplyIsNotTakenForTheNextCommands) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        auto slow = m.receive();
        auto next = m.receive();
        m.reply(slow, "late");
        m.refuse(slow, "GenericError", "late too");
        m.reply(next, "right");
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto timed_out = client->execute("slow", nullptr, brief);
    ASSERT_FALSE(timed_out);
    EXPECT_EQ(timed_out.error().kind, ErrorKind::io);
    EXPECT_THAT(timed_out.error().message, HasSubstr("no reply to 'slow'"));
    auto reply = client->execute("next", nullptr, patience);
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(*reply, "right");
}

TEST(QmpClient, DropsTheReplyToAPostedCommand) {
    json posted;
    FakeMonitor monitor([&](FakeMonitor& m) {
        m.greet();
        posted = m.receive();
        auto next = m.receive();
        m.refuse(posted, "GenericError", "dropped");
        m.reply(next, "right");
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    ASSERT_TRUE(client->post("cont"));
    auto reply = client->execute("next", nullptr, patience);
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(*reply, "right");
    EXPECT_EQ(posted["execute"], "cont");
}

TEST(QmpClient, NamesTheSocketWhenTheConnectionEndsInAReply) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        auto text = FakeMonitor::reply_text(m.receive(), "never whole");
        m.send(std::string_view(text).substr(0, text.size() / 2));
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto reply = client->execute("x");
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().kind, ErrorKind::io);
    EXPECT_THAT(reply.error().message, HasSubstr("test monitor"));
    EXPECT_THAT(reply.error().message, HasSubstr("in the middle of a message"));
    EXPECT_FALSE(client->execute("y")) << "the error must stay";
}

TEST(QmpClient, HandsOutQueuedEventsBeforeTheEndOfTheConnection) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        m.send(stop_event);
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto event = client->next_event(patience);
    ASSERT_TRUE(event && *event);
    EXPECT_FALSE(client->next_event(patience));
}

TEST(QmpClient, RefusesGarbage) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.send("QEMU 7.2.22 monitor - type 'help' for more information\r\n");
        m.linger();
    });
    auto client = connect_to(monitor);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().kind, ErrorKind::protocol);
    EXPECT_THAT(client.error().message, HasSubstr("'QEMU 7.2.22 monitor"));
    EXPECT_THAT(client.error().message, HasSubstr("is it a QMP monitor"));
}

TEST(QmpClient, RefusesAGreetingWithoutAVersion) {
    for (const char* greeting : {R"({"QMP": 1})", R"({"QMP": {"version": 7}})",
                                 R"({"QMP": {"version": {"qemu": null}}})"}) {
        FakeMonitor monitor([&](FakeMonitor& m) {
            m.send(std::string(greeting) + "\n");
            m.linger();
        });
        auto client = connect_to(monitor);
        ASSERT_FALSE(client) << greeting;
        EXPECT_EQ(client.error().kind, ErrorKind::protocol);
    }
}

TEST(QmpClient, RefusesAMessageThatIsNeitherReplyNorEvent) {
    for (const char* message :
         {"{}", "[1]", R"({"error": 3})", R"({"event": 7})", "{\"a\"", "\xff"}) {
        FakeMonitor monitor([&](FakeMonitor& m) {
            m.greet();
            m.receive();
            m.send(std::string(message) + "\n");
            m.linger();
        });
        auto client = connect_to(monitor);
        ASSERT_TRUE(client);
        auto reply = client->execute("x");
        ASSERT_FALSE(reply) << message;
        EXPECT_EQ(reply.error().kind, ErrorKind::protocol) << reply.error().message;
    }
}

TEST(QmpClient, RefusesAnEndlessLine) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        const std::string block(1 << 20, 'x');
        for (int i = 0; i < 20; ++i)
            m.send(block);
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto reply = client->execute("x");
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().kind, ErrorKind::protocol);
    EXPECT_THAT(reply.error().message, HasSubstr("16 MiB"));
    monitor.take_client_end();
}

TEST(QmpClient, SaysThatTheMonitorIsBusyWhenNoGreetingComes) {
    FakeMonitor monitor([](FakeMonitor& m) { m.linger(); });
    auto client = connect_to(monitor, brief);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().kind, ErrorKind::io);
    EXPECT_THAT(client.error().message, HasSubstr("one client at a time"));
}

TEST(QmpClient, TimesOutWhenThePeerDoesNotRead) {
    FakeMonitor monitor([](FakeMonitor& m) {
        m.greet();
        ::usleep(300'000);
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto reply = client->execute("x", {{"pad", std::string(4 << 20, 'x')}}, brief);
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().kind, ErrorKind::io);
    EXPECT_FALSE(client->execute("y", nullptr, brief)) << "half a command was sent";
}

TEST(QmpClient, RunsHumanCommands) {
    json seen;
    FakeMonitor monitor([&](FakeMonitor& m) {
        m.greet();
        seen = m.receive();
        m.reply(seen, "No memory is mapped at address 0x0\r\n");
        m.reply(m.receive(), 5);
    });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    auto text = client->hmp("gpa2hva 0x0");
    ASSERT_TRUE(text);
    EXPECT_EQ(*text, "No memory is mapped at address 0x0\r\n");
    EXPECT_EQ(seen["arguments"]["command-line"], "gpa2hva 0x0");
    EXPECT_FALSE(client->hmp("x")) << "a number is no text";
}

TEST(QmpClient, KnowsThePeersProcess) {
    FakeMonitor monitor([](FakeMonitor& m) { m.greet(); });
    auto client = connect_to(monitor);
    ASSERT_TRUE(client);
    EXPECT_EQ(client->peer_pid().value(), ::getpid());
}

TEST(QmpClient, NamesTheMissingSocket) {
    auto client = Client::connect("/nonexistent/source.qmp", brief);
    ASSERT_FALSE(client);
    EXPECT_THAT(client.error().message, HasSubstr("/nonexistent/source.qmp: No such file"));
    EXPECT_EQ(Client::connect(std::string(200, 'p'), brief).error().kind, ErrorKind::usage);
}

TEST(QmpClient, DoesNotBlockOnAFullBacklog) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto name = fmt::format("/tmp/gc-qmp-backlog-{}", ::getpid());
    std::copy(name.begin(), name.end(), address.sun_path);
    UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(::listen(listener.get(), 0), 0);
    std::vector<Result<Client>> attempts;
    for (int i = 0; i < 3; ++i)
        attempts.push_back(Client::connect(name, brief));
    ::unlink(name.c_str());
    for (const auto& attempt : attempts)
        EXPECT_THAT(attempt.error().message, HasSubstr("one client at a time"));
}

constexpr const char* carried_version =
    R"({"return": {"qemu": {"major": 9, "minor": 1, "micro": 2}, "package": "x"}, "id": "libvirt-1"})";

TEST(QmpClient, HasItsCommandsCarriedBySomebodyElse) {
    std::vector<json> seen;
    auto client = Client::over(
        [&](const std::string& command) -> Result<std::string> {
            seen.push_back(json::parse(command));
            return seen.size() == 1 ? carried_version : R"({"return": "x", "id": "libvirt-2"})";
        },
        4711, "the monitor of 'web'");
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_EQ(client->version().text(), "9.1.2 (x)");
    EXPECT_EQ(*client->peer_pid(), 4711);
    EXPECT_EQ(client->fd(), -1);
    EXPECT_FALSE(*client->next_event(0ms));
    EXPECT_EQ(*client->hmp("info mtree"), "x");
    EXPECT_EQ(seen[1], json::parse(R"({"execute": "human-monitor-command",
                                       "arguments": {"command-line": "info mtree"}})"));
}

TEST(QmpClient, TellsACarriersErrorsFromQemus) {
    Result<std::string> answer = carried_version;
    auto client = Client::over([&](const std::string&) { return answer; }, 1, "the monitor");
    ASSERT_TRUE(client);
    answer = R"({"error": {"class": "GenericError", "desc": "no"}})";
    EXPECT_EQ(client->execute("stop").error().message,
              "the monitor: QEMU refused 'stop': GenericError: no");
    answer = fail(ErrorKind::io, "the manager has gone");
    EXPECT_EQ(client->execute("stop").error().message, "the monitor: the manager has gone");
    answer = "[]";
    EXPECT_EQ(client->execute("stop").error().kind, ErrorKind::protocol);
    EXPECT_EQ(client->pass_fd("x", 0).error().kind, ErrorKind::unsupported);
}

}  // namespace
}  // namespace gc::qmp
