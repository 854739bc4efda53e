// The parts that need no socket: timers, mailbox, framing, output, request heads.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "wire/grpc.h"
#include "wire/mailbox.h"
#include "wire/rate.h"
#include "wire/request_head.h"
#include "wire/solitude.h"
#include "wire/stream_io.h"
#include "wire/test_client.h"
#include "wire/timer_wheel.h"

namespace vellum::wire {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

struct CountingTimer final : Timer {
  int fired = 0;
  std::function<void()> then;
  void OnTimer() override {
    ++fired;
    if (then) then();
  }
};

TEST(WireTimers, FireOnceNeverEarlyAndAtMostATickLate) {
  const TimerWheel::TimePoint start{};
  TimerWheel wheel(start);
  CountingTimer timer;
  wheel.Arm(&timer, start + milliseconds(1000));
  wheel.Advance(start + milliseconds(999));
  EXPECT_EQ(timer.fired, 0);
  wheel.Advance(start + milliseconds(1000) + TimerWheel::kTick);
  EXPECT_EQ(timer.fired, 1);
  EXPECT_FALSE(timer.armed());
  wheel.Advance(start + seconds(100));
  EXPECT_EQ(timer.fired, 1);
  EXPECT_EQ(wheel.Next(), std::nullopt);
}

TEST(WireTimers, RandomTimersAgainstAMap) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const TimerWheel::TimePoint start{};
  TimerWheel wheel(start);
  auto now = start;
  std::vector<std::unique_ptr<CountingTimer>> timers(300);
  std::vector<TimerWheel::TimePoint> due(timers.size());
  std::vector<int> expected(timers.size(), 0);
  for (auto& timer : timers) timer = std::make_unique<CountingTimer>();
  for (int step = 0; step < 3000; ++step) {
    const std::size_t i = random() % timers.size();
    // From milliseconds to months, so that every ring and what lies beyond is used.
    const auto ahead = milliseconds(random() % (std::uint64_t{1} << (random() % 33)));
    if (random() % 4 == 0) {
      timers[i]->Disarm();
    } else {
      due[i] = now + ahead;
      wheel.Arm(timers[i].get(), due[i]);
    }
    const auto next = wheel.Next();
    now += random() % 5 == 0 && next ? *next - now : nanoseconds(random() % (std::uint64_t{1} << (random() % 42)));
    std::vector<bool> armed(timers.size());
    for (std::size_t j = 0; j < timers.size(); ++j) armed[j] = timers[j]->armed();
    if (next) {
      for (std::size_t j = 0; j < timers.size(); ++j) {
        ASSERT_TRUE(!armed[j] || due[j] + 2 * TimerWheel::kTick >= *next);
      }
    }
    wheel.Advance(now);
    for (std::size_t j = 0; j < timers.size(); ++j) {
      if (!armed[j]) continue;
      if (timers[j]->armed()) {
        ASSERT_GT(due[j] + 2 * TimerWheel::kTick, now) << "late";
      } else {
        ++expected[j];
        ASSERT_LE(due[j], now) << "early";
      }
    }
    for (std::size_t j = 0; j < timers.size(); ++j) ASSERT_EQ(timers[j]->fired, expected[j]);
  }
}

TEST(WireTimers, MayRearmAndDestroyEachOther) {
  const TimerWheel::TimePoint start{};
  TimerWheel wheel(start);
  CountingTimer again;
  auto victim = std::make_unique<CountingTimer>();
  CountingTimer killer;
  again.then = [&] {
    if (again.fired < 3) wheel.Arm(&again, start);  // the past: the next tick
  };
  killer.then = [&] { victim.reset(); };
  wheel.Arm(&killer, start + milliseconds(8));
  wheel.Arm(victim.get(), start + milliseconds(8));
  wheel.Arm(&again, start + milliseconds(4));
  wheel.Advance(start + seconds(1));
  EXPECT_EQ(again.fired, 3);
  EXPECT_EQ(killer.fired, 1);
}

struct CountingMail final : Mail {
  CountingMail(int who, int what, std::map<int, int>* to) : Mail(1), thread(who), number(what), last(to) {}
  void Deliver(Session*) override {
    if ((*last)[thread] != number - 1) out_of_order = true;
    (*last)[thread] = number;
    delete this;
  }
  const int thread;
  const int number;
  std::map<int, int>* const last;
  inline static bool out_of_order = false;
};

TEST(WireMailbox, KeepsEachThreadsOrderAndLosesNothing) {
  Mailbox mailbox;
  ASSERT_TRUE(mailbox.ok());
  std::map<int, int> last;
  constexpr int kThreads = 4;
  constexpr int kEach = 20'000;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&mailbox, &last, thread] {
      for (int i = 1; i <= kEach; ++i) mailbox.Push(new CountingMail(thread, i, &last));
    });
  }
  std::size_t count = 0;
  while (count < kThreads * kEach) {
    count += mailbox.Drain([](Mail* mail) { mail->Deliver(nullptr); });
    std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(CountingMail::out_of_order);
  for (int thread = 0; thread < kThreads; ++thread) EXPECT_EQ(last[thread], kEach);
  EXPECT_TRUE(mailbox.PrepareToSleep());
  mailbox.Awake();
}

TEST(WireMailbox, ClosedMailboxDropsAtOnce) {
  Mailbox mailbox;
  std::map<int, int> last;
  mailbox.Push(new CountingMail(0, 1, &last));
  mailbox.Close();
  EXPECT_EQ(last[0], 1);
  mailbox.Push(new CountingMail(0, 2, &last));
  EXPECT_EQ(last[0], 2);
}

TEST(WireGrpc, Timeouts) {
  EXPECT_EQ(ParseGrpcTimeout("1H"), hours(1));
  EXPECT_EQ(ParseGrpcTimeout("3M"), std::chrono::minutes(3));
  EXPECT_EQ(ParseGrpcTimeout("10S"), seconds(10));
  EXPECT_EQ(ParseGrpcTimeout("500m"), milliseconds(500));
  EXPECT_EQ(ParseGrpcTimeout("7u"), std::chrono::microseconds(7));
  EXPECT_EQ(ParseGrpcTimeout("99999999n"), nanoseconds(99'999'999));
  EXPECT_EQ(ParseGrpcTimeout("0n"), nanoseconds(0));
  EXPECT_EQ(ParseGrpcTimeout("99999999H"), hours(100 * 365 * 24));
  for (const char* bad : {"", "S", "1", "1s", "-1S", "1.5S", "123456789S", " 1S", "1S "}) {
    EXPECT_EQ(ParseGrpcTimeout(bad), std::nullopt) << bad;
  }
}

TEST(WireGrpc, PercentEncoding) {
  EXPECT_EQ(PercentEncode("plain text, even with ~ and !"), "plain text, even with ~ and !");
  EXPECT_EQ(PercentEncode(std::string_view("%\0\x7F\xFF", 4)), "%25%00%7F%FF");
}

TEST(WireGrpc, ContentTypes) {
  EXPECT_EQ(ClassifyContentType("application/grpc"), ContentType::kGrpc);
  EXPECT_EQ(ClassifyContentType("application/grpc+json"), ContentType::kGrpc);
  EXPECT_EQ(ClassifyContentType("application/grpc-web"), ContentType::kOther);
  EXPECT_EQ(ClassifyContentType("application/grp"), ContentType::kOther);
  EXPECT_EQ(ClassifyContentType(""), ContentType::kOther);
}

// Every message, in whatever pieces it comes, is found again.
TEST(WireGrpc, MessagesSplitAnywhere) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> messages(1 + random() % 8);
    std::string bytes;
    for (std::string& message : messages) {
      message = std::string(random() % 300, static_cast<char>('a' + random() % 26));
      const bool compressed = random() % 3 == 0;
      bytes += Framed(compressed ? Gzip(message) : message, compressed);
    }
    MessageReader reader(1000);
    reader.set_encoding(Encoding::kGzip);
    std::vector<std::string> found;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t take = std::min<std::size_t>(bytes.size() - at, 1 + random() % 100);
      // A copy of its own, so that a sanitizer sees a view that outlives it.
      const std::string piece = bytes.substr(at, take);
      std::string_view input = piece;
      std::string_view message;
      while (reader.Next(&input, &message) == MessageReader::Got::kMessage) found.emplace_back(message);
      ASSERT_TRUE(reader.error().ok());
      at += take;
    }
    EXPECT_EQ(found, messages);
    EXPECT_FALSE(reader.in_message());
    EXPECT_EQ(reader.gathered_bytes(), 0u);
  }
}

TEST(WireGrpc, PromisesCostNothing) {
  MessageReader reader(1u << 30);
  std::string_view input(
      "\0\x3f\xff\xff\xff"
      "abc",
      8);
  std::string_view message;
  EXPECT_EQ(reader.Next(&input, &message), MessageReader::Got::kNeedMore);
  EXPECT_EQ(reader.gathered_bytes(), 3u);
  EXPECT_TRUE(reader.in_message());
}

TEST(WireGrpc, WholeMessagesAreNotCopied) {
  const std::string bytes = Framed("first") + Framed("second");
  MessageReader reader(100);
  std::string_view input = bytes;
  std::string_view message;
  ASSERT_EQ(reader.Next(&input, &message), MessageReader::Got::kMessage);
  EXPECT_EQ(message.data(), bytes.data() + 5);
  ASSERT_EQ(reader.Next(&input, &message), MessageReader::Got::kMessage);
  EXPECT_EQ(message.data(), bytes.data() + 15);
}

TEST(WireGrpc, TruncatedAndJoinedGzip) {
  std::string out;
  const std::string one = Gzip("one ");
  EXPECT_TRUE(Gunzip(one + Gzip("two"), 100, &out).ok());
  EXPECT_EQ(out, "one two");
  for (std::size_t cut = 0; cut < one.size(); ++cut) EXPECT_FALSE(Gunzip(one.substr(0, cut), 100, &out).ok()) << cut;
  EXPECT_EQ(Gunzip(Gzip(std::string(100, 'x')), 100, &out).code(), Code::kOk);
  EXPECT_EQ(Gunzip(Gzip(std::string(101, 'x')), 100, &out).code(), Code::kResourceExhausted);
}

// A stream that takes as many bytes at a time as a random number says.
class PickyStream final : public ByteStream {
 public:
  explicit PickyStream(std::uint32_t seed) : random_(seed) {}
  Io Read(char*, std::size_t) override { return {Outcome::kEnd}; }
  Io Write(const iovec* pieces, int count) override {
    std::size_t take = random_() % 9000;
    if (take == 0) return {Outcome::kWouldBlock};
    std::size_t sent = 0;
    for (int i = 0; i < count && take > 0; ++i) {
      const std::size_t part = std::min(take, pieces[i].iov_len);
      written.append(static_cast<const char*>(pieces[i].iov_base), part);
      take -= part;
      sent += part;
    }
    return {Outcome::kDone, sent};
  }
  void ShutdownWrite() override {}
  int fd() const override { return -1; }
  std::string written;

 private:
  std::mt19937 random_;
};

TEST(WireOutput, EveryByteOnceInOrder) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  PickyStream stream(seed);
  Output out;
  std::string expected;
  std::vector<std::weak_ptr<const std::string>> owners;
  for (int step = 0; step < 3000; ++step) {
    const auto letter = static_cast<char>('a' + random() % 26);
    if (random() % 3 == 0) {
      const auto shared = std::make_shared<const std::string>(1 + random() % 20'000, letter);
      const std::string_view part = std::string_view(*shared).substr(random() % shared->size());
      out.AppendShared(shared, part);
      expected += part;
      owners.push_back(shared);
    } else {
      const std::string bytes(random() % 500, letter);
      out.Append(bytes);
      expected += bytes;
    }
    if (random() % 3 == 0) {
      const std::size_t before = out.size();
      const auto io = out.WriteTo(&stream);
      EXPECT_EQ(before - out.size(), io.bytes);
    }
  }
  while (!out.empty()) out.WriteTo(&stream);
  EXPECT_TRUE(stream.written == expected);
  for (const auto& owner : owners) EXPECT_TRUE(owner.expired());
}

TEST(WireRates, BucketAndPings) {
  const TokenBucket::TimePoint start{};
  TokenBucket bucket({10, 5}, start);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.Take(start));
  EXPECT_FALSE(bucket.Take(start));
  EXPECT_FALSE(bucket.Take(start + milliseconds(199)));
  EXPECT_TRUE(bucket.Take(start + milliseconds(400)));

  PingPolicy with_calls{seconds(5)};
  auto now = start;
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(with_calls.OnPing(now += seconds(5), true));
  EXPECT_TRUE(with_calls.OnPing(now, true));
  EXPECT_TRUE(with_calls.OnPing(now, true));
  EXPECT_FALSE(with_calls.OnPing(now, true));

  PingPolicy answered{seconds(5)};
  for (int i = 0; i < 100; ++i) {
    answered.OnCallFrameSent();
    EXPECT_TRUE(answered.OnPing(now, true));
  }

  PingPolicy idle{seconds(5)};
  EXPECT_TRUE(idle.OnPing(now, false));
  EXPECT_TRUE(idle.OnPing(now += hours(2), false));
  EXPECT_TRUE(idle.OnPing(now += hours(1), false));
  EXPECT_TRUE(idle.OnPing(now += hours(1), false));
  EXPECT_FALSE(idle.OnPing(now += hours(1), false));
}

TEST(WireSolitude, IsBelievedAfterAWhileAndEndsAtOnce) {
  Solitude solitude;
  const auto turn = [&](ConnectionId connection, int calls, int events = 1) {
    solitude.BeginTurn(events);
    solitude.Heard(connection);
    bool alone = false;
    for (int i = 0; i < calls; ++i) alone = solitude.CountCall();
    return alone;
  };
  const auto settle = [&] {
    for (int i = 0; i < 20; ++i) turn(7, 1);
    return turn(7, 1);
  };
  for (int i = 0; i < 16; ++i) EXPECT_FALSE(turn(7, 1)) << i;
  EXPECT_TRUE(turn(7, 1));
  // Turns without a call say nothing.
  turn(7, 0);
  EXPECT_TRUE(turn(7, 1));
  // The second call of a turn waits for the first.
  EXPECT_FALSE(turn(7, 2));
  EXPECT_FALSE(turn(7, 1));
  EXPECT_TRUE(settle());
  EXPECT_FALSE(turn(8, 1));
  EXPECT_FALSE(turn(7, 1));
  EXPECT_TRUE(settle());
  // Something else is ready at the same time.
  EXPECT_FALSE(turn(7, 1, 2));
  EXPECT_FALSE(turn(7, 1));
}

TEST(WireRequestHead, KeepsWhatHandlersNeed) {
  RequestHead head(1000);
  for (const auto& [name, value] : TestHeaders{{":method", "POST"},
                                               {":scheme", "http"},
                                               {":path", "/a/B?c=d?e"},
                                               {":authority", "#initially=[a;b]"},
                                               {"te", "trailers"},
                                               {"content-type", "application/grpc"},
                                               {"grpc-timeout", "1S"},
                                               {"host", "other"},
                                               {"token", "t"}}) {
    EXPECT_TRUE(head.Add(name, value)) << name;
  }
  EXPECT_TRUE(head.Complete());
  EXPECT_EQ(head.path, "/a/B");
  EXPECT_EQ(head.query, "c=d?e");
  EXPECT_EQ(head.timeout, "1S");
  EXPECT_EQ(head.fields, (Metadata{{"host", "#initially=[a;b]"}, {"token", "t"}}));
  EXPECT_FALSE(head.too_large());
  EXPECT_TRUE(head.Add("big", std::string(1000, 'x')));
  EXPECT_TRUE(head.too_large());
  EXPECT_EQ(head.fields.size(), 2u);
  RequestHead other(1000);
  EXPECT_FALSE(other.Add("Upper", "x"));
  EXPECT_FALSE(other.Add("", "x"));
  EXPECT_FALSE(other.Add("zero", std::string_view("\0", 1)));
}

}  // namespace
}  // namespace vellum::wire
