#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace vellum {

using Counter = prometheus::Counter;
using Gauge = prometheus::Gauge;
using Histogram = prometheus::Histogram;
using MetricLabels = std::map<std::string, std::string>;

/// `count` upper bounds, each `factor` times the one before.
std::vector<double> ExponentialBuckets(double start, double factor, int count);

/// The process's (or one embedded store's) metrics, in Prometheus' text format. Thread-safe. What the Add functions
/// return lives as long as this object; asking again for the same name and labels returns the same metric.
class Metrics {
 public:
  enum class Kind { kCounter, kGauge };

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter& AddCounter(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Gauge& AddGauge(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Histogram& AddHistogram(const std::string& name, const std::string& help, const std::vector<double>& buckets,
                          const MetricLabels& labels = {});

  /// Takes one labelled gauge out of the exposition again; the reference becomes invalid.
  void RemoveGauge(const std::string& name, Gauge* gauge);

  /// Ends a callback when it goes. Waits for a scrape that is running it.
  using CallbackHandle = std::shared_ptr<void>;

  /// A value that is computed at each scrape. `read` runs on the scraping thread and must not call this object; it is
  /// never called once the returned handle is gone.
  [[nodiscard]] CallbackHandle AddCallback(Kind kind, const std::string& name, const std::string& help,
                                           std::function<double()> read, const MetricLabels& labels = {});

  /// Everything, as text format 0.0.4. Cost: proportional to the number of metrics.
  std::string Expose() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the callback handles, which may outlive this object
};

}  // namespace vellum
