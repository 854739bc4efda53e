#include "base/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>

#include "base/mutex.h"

namespace vellum {

std::vector<double> ExponentialBuckets(double start, double factor, int count) {
  std::vector<double> bounds;
  for (int i = 0; i < count; ++i, start *= factor) bounds.push_back(start);
  return bounds;
}

namespace {

struct Callback {
  Metrics::Kind kind;
  std::string name;
  std::string help;
  MetricLabels labels;
  std::function<double()> read;
};

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  mutable Mutex mu;
  std::map<std::string, prometheus::Family<Gauge>*> gauges VELLUM_GUARDED_BY(mu);
  std::vector<std::unique_ptr<Callback>> callbacks VELLUM_GUARDED_BY(mu);
};

Metrics::Metrics() : impl_(std::make_shared<Impl>()) {}
Metrics::~Metrics() = default;

Counter& Metrics::AddCounter(const std::string& name, const std::string& help, const MetricLabels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry).Add(labels);
}

Gauge& Metrics::AddGauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry);
  MutexLock lock(&impl_->mu);
  impl_->gauges[name] = &family;
  return family.Add(labels);
}

Histogram& Metrics::AddHistogram(const std::string& name, const std::string& help, const std::vector<double>& buckets,
                                 const MetricLabels& labels) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry).Add(labels, buckets);
}

void Metrics::RemoveGauge(const std::string& name, Gauge* gauge) {
  MutexLock lock(&impl_->mu);
  const auto family = impl_->gauges.find(name);
  if (family != impl_->gauges.end()) family->second->Remove(gauge);
}

Metrics::CallbackHandle Metrics::AddCallback(Kind kind, const std::string& name, const std::string& help,
                                             std::function<double()> read, const MetricLabels& labels) {
  auto callback = std::make_unique<Callback>(Callback{kind, name, help, labels, std::move(read)});
  const Callback* const key = callback.get();
  {
    MutexLock lock(&impl_->mu);
    impl_->callbacks.push_back(std::move(callback));
  }
  return {static_cast<void*>(nullptr), [impl = impl_, key](void*) {
            MutexLock lock(&impl->mu);
            std::erase_if(impl->callbacks, [key](const auto& each) { return each.get() == key; });
          }};
}

std::string Metrics::Expose() const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  std::map<std::string, prometheus::MetricFamily> computed;
  {
    // Held while reading: dropping a handle waits here, so its owner cannot be called any more afterwards.
    MutexLock lock(&impl_->mu);
    for (const auto& callback : impl_->callbacks) {
      auto& family = computed[callback->name];
      family.name = callback->name;
      family.help = callback->help;
      prometheus::ClientMetric metric;
      for (const auto& [label, value] : callback->labels) metric.label.push_back({label, value});
      if (callback->kind == Kind::kCounter) {
        family.type = prometheus::MetricType::Counter;
        metric.counter.value = callback->read();
      } else {
        family.type = prometheus::MetricType::Gauge;
        metric.gauge.value = callback->read();
      }
      family.metric.push_back(std::move(metric));
    }
  }
  for (auto& [name, family] : computed) families.push_back(std::move(family));
  std::sort(families.begin(), families.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace vellum
