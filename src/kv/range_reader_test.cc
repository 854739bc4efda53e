#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/test_random.h"
#include "kv/test_store.h"
#include "kv/view.h"

namespace vellum::kv {
namespace {

std::vector<std::string> Keys(const RangeResponse& response) {
  std::vector<std::string> keys;
  for (const auto& kv : response.kvs) keys.push_back(kv.key);
  return keys;
}

using Names = std::vector<std::string>;

RangeResponse MustRead(const View& view, const RangeRequest& request) {
  auto response = ReadRange(view, request);
  EXPECT_TRUE(response.ok()) << response.error().ToString();
  return response.ok() ? *std::move(response) : RangeResponse{};
}

RangeRequest OneKey(const std::string& key, Revision revision = 0) {
  RangeRequest request;
  request.key = key;
  request.revision = revision;
  return request;
}

TEST(KvRange, MissingKeyCountsZero) {
  TestStore store;
  const auto response = MustRead(*store.Publish(), OneKey("x"));
  EXPECT_EQ(response.revision, 1);
  EXPECT_EQ(response.count, 0);
  EXPECT_TRUE(response.kvs.empty());
  EXPECT_FALSE(response.more);
}

TEST(KvRange, TheNewestStateAndEveryOlderOne) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyPut("a", "2", 7);
  store.ApplyDelete("a");
  store.ApplyPut("a", "4");
  const auto view = store.Publish();
  const auto at = [&](Revision revision) { return MustRead(*view, OneKey("a", revision)); };
  EXPECT_EQ(at(2).kvs, (std::vector<KeyValue>{{"a", 2, 2, 1, "1", 0}}));
  EXPECT_EQ(at(3).kvs, (std::vector<KeyValue>{{"a", 2, 3, 2, "2", 7}}));
  EXPECT_EQ(at(4).kvs, (std::vector<KeyValue>{}));
  EXPECT_EQ(at(5).kvs, (std::vector<KeyValue>{{"a", 5, 5, 1, "4", 0}}));
  EXPECT_EQ(at(-5).kvs, at(5).kvs);
  EXPECT_EQ(at(1).count, 0);
  EXPECT_EQ(at(2).revision, 5);
}

TEST(KvRange, APartIsTheAnswerButForWhatLiesBehindItsLimit) {
  TestStore store;
  for (const char* key : {"a", "b", "c", "d"}) store.ApplyPut(key, "1");
  store.ApplyDelete("b");
  const auto view = store.Publish();
  for (const Revision revision : {Revision{0}, Revision{5}}) {
    for (const std::int64_t limit : {0, 1, 2, 3, 4, 5}) {
      const RangeRequest request{.key = "a", .range_end = "z", .limit = limit, .revision = revision};
      const auto part = ReadRangePart(*view, request);
      ASSERT_TRUE(part.ok()) << part.error().ToString();
      const auto whole = MustRead(*view, request);
      EXPECT_EQ(part->kvs, whole.kvs);
      EXPECT_EQ(part->more, whole.more);
      EXPECT_EQ(part->revision, whole.revision);
      EXPECT_EQ(part->count, part->more ? limit + 1 : whole.count);
    }
  }
  const auto future = ReadRangePart(*view, {.key = "a", .range_end = "z", .revision = 7});
  EXPECT_EQ(future.error().reason(), Reason::kFutureRevision);
}

TEST(KvRange, OneKeyFromMemoryOrNoAnswer) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyPut("a", "2");
  store.ApplyPut("b", std::string(100000, 'x'));
  auto view = store.Publish();
  const auto read = [&view](const RangeRequest& request) {
    auto response = ReadKeyFromMemory(*view, request);
    EXPECT_TRUE(response.ok()) << response.error().ToString();
    return response.ok() ? *std::move(response) : std::nullopt;
  };
  const auto same = [&](const RangeRequest& request) {
    const auto from_memory = read(request);
    const auto response = MustRead(*view, request);
    return from_memory && from_memory->kvs == response.kvs && from_memory->count == response.count &&
           from_memory->revision == response.revision;
  };
  EXPECT_TRUE(same(OneKey("a")));
  EXPECT_TRUE(same(OneKey("a", 4)));
  EXPECT_TRUE(same(OneKey("missing")));
  EXPECT_FALSE(read(OneKey("a", 3)).has_value());
  EXPECT_FALSE(read(OneKey("a", 5)).has_value());
  EXPECT_FALSE(read({.key = "a", .range_end = "b"}).has_value());
  RangeRequest unsorted = OneKey("a");
  unsorted.sort_order = static_cast<SortOrder>(9);
  EXPECT_EQ(ReadKeyFromMemory(*view, unsorted).error().reason(), Reason::kInvalidSort);

  // On the disk and not in the cache: no answer, until somebody has read it.
  ASSERT_TRUE(store.database().Flush().ok());
  view = store.Publish();
  EXPECT_FALSE(read(OneKey("b")).has_value());
  MustRead(*view, OneKey("b"));
  EXPECT_TRUE(same(OneKey("b")));
}

TEST(KvRange, RevisionsOutsideAreRefused) {
  TestStore store;
  for (int i = 0; i < 9; ++i) store.ApplyPut("a", std::to_string(i));
  const auto view = store.Publish();
  const auto error = [&](Revision revision) { return ReadRange(*view, OneKey("a", revision)).error(); };
  EXPECT_EQ(error(11).code(), Code::kOutOfRange);
  EXPECT_EQ(error(11).reason(), Reason::kFutureRevision);
  EXPECT_EQ(error(11).message(), "required revision is a future revision");
  EXPECT_TRUE(error(4).ok());
  store.Compact(5);
  EXPECT_EQ(error(4).code(), Code::kOutOfRange);
  EXPECT_EQ(error(4).reason(), Reason::kCompacted);
  EXPECT_EQ(error(4).message(), "required revision has been compacted");
  EXPECT_TRUE(error(5).ok());
  EXPECT_TRUE(error(10).ok());
  EXPECT_EQ(view->CheckReadable(4).reason(), Reason::kCompacted);
  EXPECT_EQ(view->CheckReadable(11).reason(), Reason::kFutureRevision);
  EXPECT_TRUE(view->CheckReadable(5).ok());
}

TEST(KvRange, SortOptionsOutsideTheEnumsAreRefused) {
  TestStore store;
  const auto view = store.Publish();
  RangeRequest request{.key = "a", .range_end = "b"};
  request.sort_order = static_cast<SortOrder>(9);
  EXPECT_EQ(ReadRange(*view, request).error().reason(), Reason::kInvalidSort);
  request.sort_order = SortOrder::kNone;
  request.sort_target = static_cast<SortTarget>(5);
  EXPECT_EQ(ReadRange(*view, request).error().reason(), Reason::kInvalidSort);
}

TEST(KvRange, GoldenPairs15And16) {
  TestStore store;
  for (const char* const key : {"v1", "v1", "v1", "v2", "v2", "v3"}) store.ApplyPut(key, "value");
  const auto view = store.Publish();
  RangeRequest request{.key = "v", .range_end = "w", .limit = 2};
  request.sort_target = SortTarget::kVersion;
  auto response = MustRead(*view, request);
  EXPECT_EQ(Keys(response), (Names{"v3", "v2"}));
  EXPECT_TRUE(response.more);
  EXPECT_EQ(response.count, 3);
  request.limit = 1;  // fetched v1 and v2 by key, of which v2 has the smaller version
  response = MustRead(*view, request);
  EXPECT_EQ(Keys(response), (Names{"v2"}));
  EXPECT_TRUE(response.more);
  EXPECT_EQ(response.count, 3);
  request.sort_order = SortOrder::kAscend;
  EXPECT_EQ(Keys(MustRead(*view, request)), (Names{"v3"}));
  request.sort_order = SortOrder::kDescend;
  EXPECT_EQ(Keys(MustRead(*view, request)), (Names{"v1"}));

  response = MustRead(*view, {.key = "v", .range_end = "w", .limit = 1, .count_only = true});
  EXPECT_EQ(response.count, 3);
  EXPECT_TRUE(response.kvs.empty());
  EXPECT_FALSE(response.more);
  response = MustRead(*view, {.key = "v", .range_end = "w", .min_create_revision = 9999});
  EXPECT_EQ(response.count, 3);
  EXPECT_TRUE(response.kvs.empty());
  response = MustRead(*view, {.key = "v", .range_end = "w", .limit = 1, .keys_only = true, .min_mod_revision = -1});
  EXPECT_EQ(Keys(response), (Names{"v1"}));
  EXPECT_EQ(response.kvs[0].value, "");
  EXPECT_EQ(response.kvs[0].version, 3);
  EXPECT_TRUE(response.more);
  EXPECT_EQ(response.count, 3);
}

TEST(KvRange, EmptyAndReversedIntervals) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyPut(std::string("\0", 1), "zero");
  const auto view = store.Publish();
  EXPECT_EQ(MustRead(*view, {.key = "z", .range_end = "a"}).count, 0);
  EXPECT_EQ(MustRead(*view, {.key = "a", .range_end = "a"}).count, 0);
  const std::string zero("\0", 1);
  EXPECT_EQ(MustRead(*view, {.key = zero, .range_end = zero}).count, 2);
  EXPECT_EQ(MustRead(*view, {.key = "a", .range_end = zero}).count, 1);
  EXPECT_EQ(MustRead(*view, OneKey(zero)).kvs.at(0).value, "zero");
  EXPECT_EQ(MustRead(*view, {.key = "a", .range_end = zero, .limit = std::numeric_limits<std::int64_t>::max()}).count, 1);
}

TEST(KvRange, ACancelledReadStops) {
  TestStore store;
  std::vector<TestStore::Change> changes;
  for (int i = 0; i < 2000; ++i) changes.push_back(TestStore::Put{"k" + std::to_string(i), "v"});
  store.Apply(changes);
  store.ApplyPut("other", "v");
  const auto view = store.Publish();
  const CancelFlag cancel{true};
  RangeRequest request{.key = "k", .range_end = "l"};
  EXPECT_EQ(ReadRange(*view, request, &cancel).error().code(), Code::kCancelled);
  request.revision = 2;
  EXPECT_EQ(ReadRange(*view, request, &cancel).error().code(), Code::kCancelled);
  const CancelFlag go_on{false};
  EXPECT_TRUE(ReadRange(*view, request, &go_on).ok());
}

TEST(KvRange, DamagedRowsAreDataLossNamingTheKey) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyPut("b", "1");
  storage::Batch batch;
  batch.Put(kLatest, "b", "garbage");
  ASSERT_TRUE(store.database().Write(std::move(batch)).ok());
  const auto view = store.Publish();
  for (const auto& request : {OneKey("b"), RangeRequest{.key = "a", .range_end = "c"},
                              RangeRequest{.key = "a", .range_end = "c", .revision = 2}}) {
    const Status error = ReadRange(*view, request).error();
    EXPECT_EQ(error.code(), Code::kDataLoss);
    EXPECT_TRUE(error.message().starts_with("key b: latest: ")) << error.message();
  }
}

/// What etcd would answer, from a whole state in a map: fetch, filter, sort, cut, as it is written down.
struct Reference {
  const TestStore::State& state;

  static bool Filtered(const RangeRequest& request, const KeyValue& kv) {
    return (request.max_mod_revision != 0 && kv.mod_revision > request.max_mod_revision) ||
           (request.min_mod_revision != 0 && kv.mod_revision < request.min_mod_revision) ||
           (request.max_create_revision != 0 && kv.create_revision > request.max_create_revision) ||
           (request.min_create_revision != 0 && kv.create_revision < request.min_create_revision);
  }
  static std::int64_t Number(const RangeRequest& request, const KeyValue& kv) {
    switch (request.sort_target) {
      case SortTarget::kVersion: return kv.version;
      case SortTarget::kCreate: return kv.create_revision;
      case SortTarget::kMod: return kv.mod_revision;
      default: return 0;
    }
  }
  static std::string Text(const RangeRequest& request, const KeyValue& kv) {
    return request.sort_target == SortTarget::kKey ? kv.key : request.sort_target == SortTarget::kValue ? kv.value : "";
  }

  RangeResponse Read(const RangeRequest& request, Revision current) const {
    RangeResponse response;
    response.revision = current;
    const auto interval = KeyInterval::FromRequest(request.key, request.range_end);
    for (const auto& [key, kv] : state) {
      if (interval.Contains(key)) response.kvs.push_back(kv);
    }
    response.count = static_cast<std::int64_t>(response.kvs.size());
    if (request.count_only) {
      response.kvs.clear();
      return response;
    }
    auto& kvs = response.kvs;
    const bool filters = request.max_mod_revision != 0 || request.min_mod_revision != 0 ||
                         request.max_create_revision != 0 || request.min_create_revision != 0;
    const bool default_order = request.sort_order == SortOrder::kNone ||
                               (request.sort_target == SortTarget::kKey && request.sort_order == SortOrder::kAscend);
    const auto limit = static_cast<std::size_t>(std::max<std::int64_t>(0, request.limit));
    if (default_order && !filters && limit > 0 && kvs.size() > limit + 1) kvs.resize(limit + 1);
    std::erase_if(kvs, [&](const KeyValue& kv) { return Filtered(request, kv); });
    auto order = request.sort_order;
    if (order == SortOrder::kNone && request.sort_target != SortTarget::kKey) order = SortOrder::kAscend;
    const auto before = [&](const KeyValue& a, const KeyValue& b) {
      return std::pair(Number(request, a), Text(request, a)) < std::pair(Number(request, b), Text(request, b));
    };
    if (order == SortOrder::kAscend) std::stable_sort(kvs.begin(), kvs.end(), before);
    if (order == SortOrder::kDescend) {
      std::stable_sort(kvs.begin(), kvs.end(), [&](const auto& a, const auto& b) { return before(b, a); });
    }
    if (limit > 0 && kvs.size() > limit) {
      kvs.resize(limit);
      response.more = true;
    }
    if (request.keys_only) {
      for (auto& kv : kvs) kv.value.clear();
    }
    return response;
  }
};

/// Ties too: they stay in the order of their keys.
void ExpectSameAnswer(const RangeResponse& got, const RangeResponse& want) {
  EXPECT_EQ(got.revision, want.revision);
  EXPECT_EQ(got.count, want.count);
  EXPECT_EQ(got.more, want.more);
  EXPECT_EQ(got.kvs, want.kvs);
}

std::string RandomKey(std::mt19937_64& random) {
  std::string key;
  for (std::uint64_t size = 1 + random() % 3; size > 0; --size) key.push_back("\0\1\xff" "abc"[random() % 6]);
  return key;
}

RangeRequest RandomRequest(std::mt19937_64& random, Revision revision) {
  const std::string from_key("\0", 1);
  RangeRequest request = OneKey(RandomKey(random));
  switch (random() % 4) {
    case 0: break;
    case 1: request.range_end = from_key; break;
    default: request.range_end = RandomKey(random); break;
  }
  if (random() % 4 == 0) request.key = from_key;
  if (random() % 2 == 0) request.limit = static_cast<std::int64_t>(random() % 12) - 1;
  if (random() % 2 == 0) {
    request.sort_order = static_cast<SortOrder>(random() % 3);
    request.sort_target = static_cast<SortTarget>(random() % 5);
  }
  request.keys_only = random() % 4 == 0;
  request.count_only = random() % 6 == 0;
  const auto bound = [&] { return static_cast<Revision>(random() % static_cast<std::uint64_t>(revision + 2)) - 1; };
  if (random() % 4 == 0) request.min_mod_revision = bound();
  if (random() % 4 == 0) request.max_mod_revision = bound();
  if (random() % 5 == 0) request.min_create_revision = bound();
  if (random() % 5 == 0) request.max_create_revision = bound();
  return request;
}

void RandomChanges(std::mt19937_64& random, TestStore* store) {
  std::vector<TestStore::Change> changes;
  for (std::uint64_t n = 1 + random() % 4; n > 0; --n) {
    if (random() % 3 == 0) {
      changes.push_back(TestStore::Delete{random() % 8 == 0 ? KeyInterval{RandomKey(random), RandomKey(random)}
                                                            : KeyInterval::SingleKey(RandomKey(random))});
    } else {
      changes.push_back(TestStore::Put{RandomKey(random), RandomKey(random), static_cast<LeaseId>(random() % 2)});
    }
  }
  // A list has at most one put of a key.
  std::vector<std::string> put;
  std::erase_if(changes, [&put](const TestStore::Change& change) {
    const auto* one = std::get_if<TestStore::Put>(&change);
    if (one == nullptr) return false;
    if (std::find(put.begin(), put.end(), one->key) != put.end()) return true;
    put.push_back(one->key);
    return false;
  });
  store->Apply(changes);
}

TEST(KvRange, AgreesWithTheReferenceAtEveryRevisionUnderEveryOption) {
  auto random = SeededRandom();
  TestStore store(20u << 10);
  std::vector<std::shared_ptr<const View>> views;
  for (int step = 0; step < 500; ++step) {
    RandomChanges(random, &store);
    const auto view = random() % 2 == 0 ? store.Publish() : store.ViewWithoutRing();
    if (random() % 60 == 0) store.Compact(std::max<Revision>(store.mark().published, store.revision() - 40));
    if (random() % 100 == 0) store.Reclaim();
    if (random() % 50 == 0) views.push_back(view);
    const auto reader = views.empty() || random() % 4 != 0 ? view : views[random() % views.size()];
    for (int i = 0; i < 8; ++i) {
      RangeRequest request = RandomRequest(random, store.revision());
      if (random() % 3 != 0) {
        request.revision = static_cast<Revision>(random() % static_cast<std::uint64_t>(reader->revision() + 2));
      }
      const auto response = ReadRange(*reader, request);
      const Revision at = request.revision <= 0 ? reader->revision() : request.revision;
      if (at > reader->revision()) {
        ASSERT_EQ(response.error().reason(), Reason::kFutureRevision);
        continue;
      }
      if (at < store.mark().published && at != reader->revision()) {
        ASSERT_EQ(response.error().reason(), Reason::kCompacted);
        continue;
      }
      ASSERT_TRUE(response.ok()) << response.error().ToString();
      const auto want = Reference{store.StateAt(at)}.Read(request, reader->revision());
      ExpectSameAnswer(*response, want);
      ASSERT_FALSE(::testing::Test::HasFailure())
          << "step " << step << " revision " << at << " of " << reader->revision() << " key "
          << Printable(request.key) << " end " << Printable(request.range_end) << " limit " << request.limit;
      const auto through_source = ReadRange(ViewLatest(reader.get()), *reader, reader->revision(), request);
      ASSERT_TRUE(through_source.ok());
      ASSERT_EQ(through_source->kvs, response->kvs);
      ASSERT_EQ(through_source->count, response->count);
    }
  }
}

TEST(KvRange, CountsOfThePastAreExactFarAndNear) {
  auto random = SeededRandom();
  TestStore store(64u << 10);
  const auto name = [](std::uint64_t number) { return "/registry/pods/" + std::to_string(number); };
  std::vector<TestStore::Change> many;
  for (std::uint64_t i = 0; i < 3000; ++i) many.push_back(TestStore::Put{name(i), "v"});
  store.Apply(many);
  std::vector<std::shared_ptr<const View>> views;
  for (int step = 0; step < 40; ++step) {
    std::vector<TestStore::Change> changes;
    for (int i = 0; i < 4; ++i) {
      const std::string key = name(random() % 4000);
      if (random() % 2 == 0) {
        changes.push_back(TestStore::Put{key, "w"});
        if (random() % 2 == 0) changes.push_back(TestStore::Delete{{key, std::nullopt}});
        break;
      }
      changes.push_back(TestStore::Delete{KeyInterval::SingleKey(key)});
      changes.push_back(TestStore::Delete{{key + "0", key + "5"}});
    }
    store.Apply(changes);
    if (step % 3 == 0) views.push_back(store.Publish());
    if (step % 7 == 0) store.Apply(many);
  }
  views.push_back(store.ViewWithoutRing());
  for (int i = 0; i < 250; ++i) {
    const View& view = *views[random() % views.size()];
    const Revision at = 1 + static_cast<Revision>(random() % static_cast<std::uint64_t>(view.revision()));
    RangeRequest request{.key = "/", .range_end = "0", .revision = at, .count_only = true};
    if (random() % 2 == 0) request.key = name(random() % 4000);
    if (random() % 3 == 0) request.range_end = name(random() % 4000);
    const auto interval = KeyInterval::FromRequest(request.key, request.range_end);
    std::int64_t want = 0;
    for (const auto& [key, kv] : store.StateAt(at)) want += interval.Contains(key) ? 1 : 0;
    const auto response = ReadRange(view, request);
    ASSERT_TRUE(response.ok()) << response.error().ToString();
    ASSERT_EQ(response->count, want) << "at " << at << " of " << view.revision();
  }
}

}  // namespace
}  // namespace vellum::kv
