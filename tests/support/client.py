"""A client in another language than ours: Python's grpcio with messages generated from proto/."""
import queue
import sys
import threading
import unittest

from . import wait
from .server import BUILD, PATIENCE, ServerTest

sys.path.insert(0, str(BUILD / "tests" / "python"))

import grpc  # noqa: E402
from etcdserverpb import rpc_pb2 as pb  # noqa: E402
from etcdserverpb import rpc_pb2_grpc as services  # noqa: E402
from mvccpb import kv_pb2 as mvcc  # noqa: E402,F401  (for those who import this module)

ANSWER_BYTES_MAX = 2**31 - 1


class Client:
    """The services of one server, over one connection."""

    def __init__(self, target, **options):
        settings = {"grpc.max_receive_message_length": ANSWER_BYTES_MAX, "grpc.max_send_message_length": ANSWER_BYTES_MAX,
                    "grpc.use_local_subchannel_pool": 1} | options
        self.channel = grpc.insecure_channel(target, options=list(settings.items()))
        self.kv = services.KVStub(self.channel)
        self.watch = services.WatchStub(self.channel)
        self.lease = services.LeaseStub(self.channel)
        self.maintenance = services.MaintenanceStub(self.channel)
        self.cluster = services.ClusterStub(self.channel)

    def raw(self, method, message=b""):
        """A unary call by its path, with bytes instead of messages."""
        return self.channel.unary_unary(method)(message)

    def close(self):
        self.channel.close()

    def put(self, key, value=b"", **fields):
        return self.kv.Put(pb.PutRequest(key=key, value=value, **fields))

    def get(self, key, range_end=b"", **fields):
        return self.kv.Range(pb.RangeRequest(key=key, range_end=range_end, **fields))

    def delete(self, key, range_end=b"", **fields):
        return self.kv.DeleteRange(pb.DeleteRangeRequest(key=key, range_end=range_end, **fields))

    def txn(self, compare=(), success=(), failure=()):
        return self.kv.Txn(pb.TxnRequest(compare=compare, success=success, failure=failure))

    def compact(self, revision, physical=False):
        return self.kv.Compact(pb.CompactionRequest(revision=revision, physical=physical))

    def grant(self, ttl, lease_id=0):
        return self.lease.LeaseGrant(pb.LeaseGrantRequest(TTL=ttl, ID=lease_id))

    def revision(self):
        return self.get(b"\0").header.revision

    def keep_alive(self, *lease_ids):
        """One answer per id, over one stream that is then half closed."""
        return list(self.lease.LeaseKeepAlive(iter([pb.LeaseKeepAliveRequest(ID=lease_id) for lease_id in lease_ids])))

    def open_watch(self, **options):
        return WatchStream(self.watch, **options)


def put_op(key, value=b"", **fields):
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **fields))


def get_op(key, range_end=b"", **fields):
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, range_end=range_end, **fields))


def delete_op(key, range_end=b"", **fields):
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=range_end, **fields))


def txn_op(compare=(), success=(), failure=()):
    return pb.RequestOp(request_txn=pb.TxnRequest(compare=compare, success=success, failure=failure))


def compare(target, key, result="EQUAL", range_end=b"", **operand):
    return pb.Compare(target=pb.Compare.CompareTarget.Value(target), result=pb.Compare.CompareResult.Value(result), key=key,
                      range_end=range_end, **operand)


class WatchStream:
    """One Watch call. Answers arrive in a queue; the end of the stream does as the exception that ended it."""

    def __init__(self, stub, metadata=None):
        self._requests = queue.Queue()
        self._answers = queue.Queue()
        self._call = stub.Watch(iter(self._requests.get, None), metadata=metadata)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for answer in self._call:
                self._answers.put(answer)
            self._answers.put(None)
        except grpc.RpcError as error:
            self._answers.put(error)

    def send(self, **request):
        self._requests.put(pb.WatchRequest(**request))

    def create(self, key, range_end=b"", **fields):
        self.send(create_request=pb.WatchCreateRequest(key=key, range_end=range_end, **fields))

    def cancel(self, watch_id):
        self.send(cancel_request=pb.WatchCancelRequest(watch_id=watch_id))

    def progress(self):
        self.send(progress_request=pb.WatchProgressRequest())

    def progress_answer(self, seconds=20):
        """Asks for progress until told: a server is silent while any watch of the stream is behind."""
        def told():
            self.progress()
            try:
                return self._answers.get(timeout=0.2)
            except queue.Empty:
                return None
        return wait.until(told, "a progress report", seconds * PATIENCE)

    def half_close(self):
        self._requests.put(None)

    def next(self, seconds=20):
        """The next answer; raises what ended the stream."""
        try:
            answer = self._answers.get(timeout=seconds * PATIENCE)
        except queue.Empty:
            raise AssertionError(f"the watch said nothing for {seconds} s") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def created(self, key, range_end=b"", **fields):
        """Creates a watch, and returns its id once the server has confirmed it."""
        self.create(key, range_end, **fields)
        answer = self.next()
        assert answer.created and not answer.canceled, answer
        return answer.watch_id

    def events(self, count, seconds=20):
        """Exactly `count` events, over as many answers as it takes."""
        found = []
        while len(found) < count:
            found.extend(self.next(seconds).events)
        assert len(found) == count, found
        return found

    def empty(self):
        return self._answers.empty()

    def end(self):
        self._call.cancel()


class ClientTest(ServerTest):
    """A test that talks gRPC."""

    def connect(self, server, **options):
        client = Client(server.address, **options)
        self.addCleanup(client.close)
        return client

    def serve(self, *flags, **options):
        """A fresh server and a client of it."""
        server = self.start_server(*flags, **options)
        return server, self.connect(server)

    def open_watch(self, client, **options):
        stream = client.open_watch(**options)
        self.addCleanup(stream.end)
        return stream

    def assert_error(self, code, text, call, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **fields)
        self.assertEqual((caught.exception.code().value[0], caught.exception.details()), (code, text))

    def assert_code(self, code, call, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **fields)
        self.assertEqual(caught.exception.code().value[0], code, caught.exception.details())
        return caught.exception.details()


__all__ = ["Client", "ClientTest", "WatchStream", "compare", "delete_op", "get_op", "grpc", "mvcc", "pb", "put_op", "services",
           "txn_op", "unittest"]
