#include "rpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <utility>

#include "etcdserverpb/rpc.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "vellum/sync/v1/service.pb.h"

namespace vellum::rpc {
namespace {

using google::protobuf::FileDescriptor;

/// The schema of what is served. Constant after construction, so a question costs no more than its lookup: answers that
/// are much larger than questions are made once and shared.
class Schema {
 public:
  Schema() {
    for (const FileDescriptor* file :
         {etcdserverpb::PutRequest::descriptor()->file(), grpc::health::v1::HealthCheckRequest::descriptor()->file(),
          grpc::reflection::v1::ServerReflectionRequest::descriptor()->file(),
          grpc::reflection::v1alpha::ServerReflectionRequest::descriptor()->file(),
          vellum::sync::v1::ListSyncsRequest::descriptor()->file()}) {
      AddFile(file);
    }
  }

  /// A FileDescriptorResponse with the file and all that it imports; null: no such file here.
  wire::SharedBytes FindFile(const std::string& name) const {
    const auto found = files_.find(name);
    return found == files_.end() ? nullptr : found->second;
  }
  wire::SharedBytes FindSymbol(const std::string& symbol) const {
    const FileDescriptor* file = Pool()->FindFileContainingSymbol(symbol);
    return file == nullptr ? nullptr : FindFile(file->name());
  }
  bool HasMessage(const std::string& name) const {
    const auto* message = Pool()->FindMessageTypeByName(name);
    return message != nullptr && files_.contains(message->file()->name());
  }

 private:
  static const google::protobuf::DescriptorPool* Pool() { return google::protobuf::DescriptorPool::generated_pool(); }

  void AddFile(const FileDescriptor* file) {
    if (files_.contains(file->name())) return;
    std::set<const FileDescriptor*> seen;
    grpc::reflection::v1::FileDescriptorResponse response;
    Collect(file, &seen, &response);
    files_[file->name()] = std::make_shared<const std::string>(response.SerializeAsString());
    for (int i = 0; i < file->dependency_count(); ++i) AddFile(file->dependency(i));
  }

  static void Collect(const FileDescriptor* file, std::set<const FileDescriptor*>* seen,
                      grpc::reflection::v1::FileDescriptorResponse* response) {
    if (!seen->insert(file).second) return;
    google::protobuf::FileDescriptorProto proto;
    file->CopyTo(&proto);
    response->add_file_descriptor_proto(proto.SerializeAsString());
    for (int i = 0; i < file->dependency_count(); ++i) Collect(file->dependency(i), seen, response);
  }

  std::unordered_map<std::string, wire::SharedBytes> files_;
};

constexpr int kFileDescriptorResponse = 4;  // the field's number in ServerReflectionResponse

std::set<std::string> ServiceNames(const wire::ServiceTable& table) {
  std::set<std::string> names;
  for (const std::string& method : table.Methods()) {
    // "/package.Service/Method"
    const std::size_t end = method.find('/', 1);
    if (end != std::string::npos) names.insert(method.substr(1, end - 1));
  }
  return names;
}

/// One call. Both versions of the protocol have the same messages under two names.
template <typename Request, typename Response>
class ReflectionStream final : public wire::StreamHandler {
 public:
  ReflectionStream(CorePtr core, std::shared_ptr<const Schema> schema, const wire::ServiceTable* table,
                   std::shared_ptr<wire::StreamWriter> writer)
      : core_(std::move(core)), schema_(std::move(schema)), table_(table), writer_(writer),
        registered_(&core_->streams, writer), credit_(std::move(writer), core_->context.limits.stream_high_water_bytes) {}

  void OnMessage(std::string_view message) override {
    Request request;
    if (!ParseMessage(message, &request)) {
      writer_->Finish(Malformed());
      return;
    }
    Response response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    const wire::SharedBytes file = Answer(request, &response);
    MessageWriter head;
    wire::Message answer(1);
    response.SerializeToString(&answer.front().own);
    if (file != nullptr) {
      head.Begin(kFileDescriptorResponse, file->size());
      answer.front().own += head.Take().front().own;
      answer.front().shared = file;
    }
    writer_->Send(std::move(answer));
    credit_.Return(message.size());
  }
  void OnHalfClose() override { writer_->Finish({}); }
  void OnWritable() override { credit_.Release(); }
  void OnClosed() override {}

 private:
  // Fills the answer, or returns the one that is ready made.
  wire::SharedBytes Answer(const Request& request, Response* response) const {
    switch (request.message_request_case()) {
      case Request::kFileByFilename:
        return Found(schema_->FindFile(request.file_by_filename()), request.file_by_filename(), response);
      case Request::kFileContainingSymbol:
        return Found(schema_->FindSymbol(request.file_containing_symbol()), request.file_containing_symbol(), response);
      case Request::kFileContainingExtension:
        return Found(nullptr, request.file_containing_extension().containing_type(), response);
      case Request::kAllExtensionNumbersOfType:
        if (!schema_->HasMessage(request.all_extension_numbers_of_type())) {
          return Found(nullptr, request.all_extension_numbers_of_type(), response);
        }
        response->mutable_all_extension_numbers_response()->set_base_type_name(request.all_extension_numbers_of_type());
        return nullptr;
      case Request::kListServices:
        for (const std::string& name : ServiceNames(*table_)) {
          response->mutable_list_services_response()->add_service()->set_name(name);
        }
        return nullptr;
      case Request::MESSAGE_REQUEST_NOT_SET:
        break;
    }
    SetError(Code::kInvalidArgument, "the request asks for nothing", response);
    return nullptr;
  }

  static wire::SharedBytes Found(wire::SharedBytes file, const std::string& what, Response* response) {
    if (file == nullptr) SetError(Code::kNotFound, "not found: " + what, response);
    return file;
  }

  static void SetError(Code code, std::string text, Response* response) {
    response->mutable_error_response()->set_error_code(static_cast<int>(code));
    response->mutable_error_response()->set_error_message(std::move(text));
  }

  const CorePtr core_;
  const std::shared_ptr<const Schema> schema_;
  const wire::ServiceTable* const table_;
  const std::shared_ptr<wire::StreamWriter> writer_;
  const RegisteredStream registered_;
  RequestCredit credit_;
};

template <typename Request, typename Response>
void Add(const CorePtr& core, const std::shared_ptr<const Schema>& schema, const std::string& method,
         wire::ServiceTable* table) {
  table->AddStream(method, [core, schema, table](std::shared_ptr<const wire::CallContext> context,
                                                 std::shared_ptr<wire::StreamWriter> writer) {
    AdmitStream(core.get(), *context, writer.get());
    return std::make_unique<ReflectionStream<Request, Response>>(core, schema, table, std::move(writer));
  });
}

}  // namespace

void RegisterReflection(const CorePtr& core, wire::ServiceTable* table) {
  const auto schema = std::make_shared<const Schema>();
  Add<grpc::reflection::v1::ServerReflectionRequest, grpc::reflection::v1::ServerReflectionResponse>(
      core, schema, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", table);
  Add<grpc::reflection::v1alpha::ServerReflectionRequest, grpc::reflection::v1alpha::ServerReflectionResponse>(
      core, schema, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", table);
}

}  // namespace vellum::rpc
