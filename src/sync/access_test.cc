#include "sync/access.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/test_random.h"
#include "sync/test_world.h"

/// Who may reach what, and why, against a naive recursion over the same grants.
namespace vellum::sync {
namespace {

using Sources = std::vector<std::pair<std::string, bool>>;

TestRecord Grant(const std::string& group, const std::string& entitlement, const std::string& user, const Sources& sources) {
  TestRecord grant;
  grant.type_id = "group";
  grant.resource_id = group;
  grant.entitlement_id = entitlement;
  grant.principal_type = "user";
  grant.principal_id = user;
  grant.data = GrantMessage(sources);
  return grant;
}

std::string Member(const std::string& group) { return "group:" + group + ":member"; }

TestRecord Entitlement(const std::string& group, const std::string& id) {
  TestRecord entitlement;
  entitlement.type = RecordType::kEntitlement;
  entitlement.type_id = "group";
  entitlement.resource_id = group;
  entitlement.id = id;
  entitlement.data = ResourceMessage("", "", "Member of " + group);
  return entitlement;
}

/// A row as text: "group:a group:a:member user:ann direct", and behind it its chains.
std::string Text(const AccessRow& row) {
  std::string text = row.resource.type + ":" + row.resource.id + " " + row.entitlement + " " + row.principal.type + ":" +
                     row.principal.id + (row.direct ? " direct" : "");
  for (const AccessRow::Chain& chain : row.chains) {
    text += " [";
    for (const AccessRow::Step& step : chain.steps) {
      text += "<" + step.entitlement + "@" + step.resource.id + (step.direct ? "!" : "");
    }
    static constexpr const char* kEnds[] = {"", " cycle", " deep", " unknown"};
    text += std::string(kEnds[static_cast<int>(chain.end)]) + "]";
  }
  return text + (row.chains_cut ? " more" : "");
}

struct Answer {
  std::vector<std::string> rows;
  AccessSummary summary;
};
Answer Ask(const ReadView& view, const AccessQuestion& question) {
  Answer answer;
  const auto summary = AnswerAccess(view, question, [&answer](const AccessRow& row) {
    answer.rows.push_back(Text(row));
    return Status();
  });
  EXPECT_TRUE(summary.ok()) << summary.error().ToString();
  if (summary.ok()) answer.summary = *summary;
  EXPECT_EQ(answer.summary.rows, answer.rows.size());
  return answer;
}

AccessQuestion AboutUser(const std::string& user, bool why = true) {
  AccessQuestion question;
  question.principal = ResourceName{"user", user};
  question.why = why;
  return question;
}

TEST(SyncAccess, ChainsLeadToTheDirectGrant) {
  TestSyncs syncs;
  TestRecord pending = Grant("d", Member("d"), "bob", {});
  pending.needs_expansion = true;
  syncs.Write("S", std::vector<TestRecord>{
                       Grant("a", Member("a"), "ann", {{Member("b"), false}}),
                       Grant("b", Member("b"), "ann", {{Member("c"), true}}),
                       Grant("c", Member("c"), "ann", {}),
                       Entitlement("a", Member("a")),
                       pending,
                   });
  const auto view = syncs.View("S");
  const Answer answer = Ask(*view, AboutUser("ann"));
  EXPECT_EQ(answer.rows, (std::vector<std::string>{
                             "group:a group:a:member user:ann [<group:b:member@b<group:c:member@c!]",
                             "group:b group:b:member user:ann [<group:c:member@c!]",
                             "group:c group:c:member user:ann direct",
                         }));
  EXPECT_EQ(answer.summary.pending_expansions, 1u);
  AccessQuestion who;
  who.resource = ResourceName{"group", "a"};
  EXPECT_EQ(Ask(*view, who).rows, std::vector<std::string>{"group:a group:a:member user:ann"});
  who.why = true;
  EXPECT_EQ(Ask(*view, who).rows, std::vector<std::string>{answer.rows[0]});
  std::string name;
  ASSERT_TRUE(AnswerAccess(*view, who, [&name](const AccessRow& row) {
                name = row.entitlement_name;
                return Status();
              }).ok());
  EXPECT_EQ(name, "Member of a");
}

TEST(SyncAccess, CyclesDepthsAndWhatIsMissing) {
  TestSyncs syncs;
  syncs.Write("S", std::vector<TestRecord>{
                       Grant("a", Member("a"), "ann", {{Member("b"), false}, {Member("gone"), false}}),
                       Grant("b", Member("b"), "ann", {{Member("a"), false}, {Member("b"), true}}),
                       Grant("c", "member", "ann", {{"admin", false}, {Member("elsewhere"), true}}),
                       Grant("d", "admin", "ann", {}),
                       Grant("e", "admin", "ann", {}),
                       Entitlement("elsewhere", Member("elsewhere")),
                   });
  const auto view = syncs.View("S");
  EXPECT_EQ(Ask(*view, AboutUser("ann")).rows,
            (std::vector<std::string>{
                "group:a group:a:member user:ann [<group:b:member@b!] [<group:b:member@b!<group:a:member@a cycle]"
                " [<group:gone:member@ unknown]",
                "group:b group:b:member user:ann direct [<group:a:member@a<group:b:member@b cycle]"
                " [<group:a:member@a<group:gone:member@ unknown]",
                // Two resources have an "admin": which one is meant cannot be said.
                "group:c member user:ann [<admin@ unknown] [<group:elsewhere:member@elsewhere!]",
                "group:d admin user:ann direct",
                "group:e admin user:ann direct",
            }));
  AccessQuestion shallow = AboutUser("ann");
  shallow.depth_max = 1;
  EXPECT_EQ(Ask(*view, shallow).rows[0],
            "group:a group:a:member user:ann [<group:b:member@b!] [<group:b:member@b! deep] [<group:gone:member@ unknown]");
  shallow.depth_max = 0;
  const AccessVisitor nothing = [](const AccessRow&) { return Status(); };
  EXPECT_EQ(AnswerAccess(*view, shallow, nothing).error().code(), Code::kInvalidArgument);
  shallow.resource = ResourceName{"group", "a"};
  EXPECT_EQ(AnswerAccess(*view, shallow, nothing).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(AnswerAccess(*view, {}, nothing).error().code(), Code::kInvalidArgument);
}

TEST(SyncAccess, ManyPathsAreCutOff) {
  // Each of forty groups derives from both of the next two: more chains than anybody can read.
  TestSyncs syncs;
  std::vector<TestRecord> grants;
  for (int i = 0; i < 40; ++i) {
    const auto at = [](int n) { return Member(std::to_string(100 + n)); };
    grants.push_back(Grant(std::to_string(100 + i), at(i), "ann", {{at(i + 1), false}, {at(i + 2), false}}));
  }
  syncs.Write("S", grants);
  AccessRow first;
  AccessQuestion question;
  question.resource = ResourceName{"group", "100"};
  question.why = true;
  ASSERT_TRUE(AnswerAccess(*syncs.View("S"), question, [&first](const AccessRow& row) {
                first = row;
                return Status();
              }).ok());
  EXPECT_EQ(first.chains.size(), kChainsMax);
  EXPECT_TRUE(first.chains_cut);
}

/// One grant of the reference.
struct Held {
  std::string group;
  std::set<std::string> sources;
};
using World = std::map<std::string, Held>;  // one user's grants, by entitlement id

/// Every chain, by plain recursion; ends as text.
void Recurse(const World& world, const std::string& start, const std::string& at, std::vector<std::string> path,
             std::multiset<std::string>* chains) {
  for (const std::string& source : world.at(at).sources) {
    if (source == at) continue;
    std::vector<std::string> longer = path;
    longer.push_back(source);
    std::string text;
    for (const std::string& each : longer) text += each + "<";
    if (!world.contains(source)) {
      chains->insert(text + "unknown");
    } else if (source == start || std::count(path.begin(), path.end(), source) > 0) {
      chains->insert(text + "cycle");
    } else {
      const std::set<std::string>& next = world.at(source).sources;
      if (next.empty() || next.contains(source)) chains->insert(text);
      Recurse(world, start, source, longer, chains);
    }
  }
}

TEST(SyncAccess, ChainsAsNaiveRecursionFindsThem) {
  auto random = SeededRandom();
  TestWorld dice(&random);
  for (int round = 0; round < 20; ++round) {
    TestSyncs syncs;
    std::map<std::string, World> users;
    std::vector<TestRecord> records;
    for (const std::string user : {"ann", "bob", "cy"}) {
      for (int group = 0; group < 6; ++group) {
        if (dice.Chance(30)) continue;
        Held held{std::to_string(group), {}};
        Sources sources;
        for (int from = 0; from < 6; ++from) {
          if (dice.Chance(75)) continue;
          held.sources.insert(Member(std::to_string(from)));
          sources.emplace_back(Member(std::to_string(from)), false);
        }
        records.push_back(Grant(held.group, Member(held.group), user, sources));
        users[user][Member(held.group)] = held;
      }
    }
    syncs.Write("S", records);
    const auto view = syncs.View("S");
    for (const auto& [user, world] : users) {
      std::size_t rows = 0;
      const auto summary = AnswerAccess(*view, AboutUser(user), [&, &world = world](const AccessRow& row) {
        ++rows;
        std::multiset<std::string> expected;
        Recurse(world, row.entitlement, row.entitlement, {}, &expected);
        std::multiset<std::string> found;
        for (const AccessRow::Chain& chain : row.chains) {
          std::string text;
          for (const AccessRow::Step& step : chain.steps) text += step.entitlement + "<";
          static constexpr const char* kEnds[] = {"", "cycle", "deep", "unknown"};
          found.insert(text + kEnds[static_cast<int>(chain.end)]);
        }
        if (row.chains_cut) {
          EXPECT_TRUE(std::includes(expected.begin(), expected.end(), found.begin(), found.end()));
          EXPECT_GT(expected.size(), kChainsMax);
        } else {
          EXPECT_EQ(found, expected);
        }
        const std::set<std::string>& sources = world.at(row.entitlement).sources;
        EXPECT_EQ(row.direct, sources.empty() || sources.contains(row.entitlement));
        return Status();
      });
      ASSERT_TRUE(summary.ok()) << summary.error().ToString();
      EXPECT_EQ(rows, world.size());
    }
  }
}

}  // namespace
}  // namespace vellum::sync
