//! The imports: every function that proxy-wasm SDK 0.2.5 imports from its host, by topic.
//!
//! The table in [`link`] is the whole list. Each entry counts itself, then runs one function of a sibling
//! file, whose result becomes the status the guest sees.

mod buffers;
mod grpc;
mod http_call;
mod maps;
mod metrics;
mod properties;
mod queues;
mod shared;
mod streams;
mod system;
mod wasi;

use crate::abi::Status;
use crate::guest::{Fault, Guest, Reply};
use crate::vm::VmState;
use wasmtime::{Caller, Linker, Result};

fn status(reply: Reply) -> Result<u32> {
    match reply {
        Ok(()) => Ok(Status::Ok as u32),
        Err(Fault::Status(status)) => Ok(status as u32),
        Err(Fault::Trap(error)) => Err(error),
    }
}

/// `name(arguments) => function;` for each import of one wasm module.
macro_rules! imports {
    ($linker:ident, $module:literal, $finish:path:
     $($name:ident($($argument:ident: $type:ty),*) => $function:path;)*) => {
        $($linker.func_wrap(
            $module,
            stringify!($name),
            |caller: Caller<'_, VmState>, $($argument: $type),*| {
                let mut guest = Guest::enter(caller, stringify!($name));
                $finish($function(&mut guest, $($argument),*))
            },
        )?;)*
    };
}

/// Defines all imports.
pub(crate) fn link(linker: &mut Linker<VmState>) -> Result<()> {
    imports! { linker, "env", status:
        proxy_log(level: u32, at: u32, len: u32) => system::log;
        proxy_get_log_level(out: u32) => system::get_log_level;
        proxy_get_current_time_nanoseconds(out: u32) => system::get_current_time;
        proxy_set_tick_period_milliseconds(period: u32) => system::set_tick_period;
        proxy_get_status(code: u32, out: u32, out_len: u32) => system::get_status;
        proxy_set_effective_context(context: u32) => system::set_effective_context;
        proxy_done() => system::done;
        proxy_call_foreign_function(name: u32, name_len: u32, arguments: u32, arguments_len: u32, out: u32,
            out_len: u32) => system::call_foreign_function;

        proxy_get_buffer_bytes(kind: u32, start: u32, max: u32, out: u32, out_len: u32) => buffers::get;
        proxy_set_buffer_bytes(kind: u32, start: u32, len: u32, at: u32, at_len: u32) => buffers::set;

        proxy_get_header_map_pairs(kind: u32, out: u32, out_len: u32) => maps::get_pairs;
        proxy_set_header_map_pairs(kind: u32, at: u32, len: u32) => maps::set_pairs;
        proxy_get_header_map_value(kind: u32, key: u32, key_len: u32, out: u32, out_len: u32)
            => maps::get_value;
        proxy_replace_header_map_value(kind: u32, key: u32, key_len: u32, at: u32, len: u32)
            => maps::replace_value;
        proxy_add_header_map_value(kind: u32, key: u32, key_len: u32, at: u32, len: u32) => maps::add_value;
        proxy_remove_header_map_value(kind: u32, key: u32, key_len: u32) => maps::remove_value;

        proxy_get_property(path: u32, path_len: u32, out: u32, out_len: u32) => properties::get;
        proxy_set_property(path: u32, path_len: u32, at: u32, len: u32) => properties::set;

        proxy_get_shared_data(key: u32, key_len: u32, out: u32, out_len: u32, cas: u32) => shared::get;
        proxy_set_shared_data(key: u32, key_len: u32, at: u32, len: u32, cas: u32) => shared::set;

        proxy_register_shared_queue(name: u32, name_len: u32, out: u32) => queues::register;
        proxy_resolve_shared_queue(vm: u32, vm_len: u32, name: u32, name_len: u32, out: u32)
            => queues::resolve;
        proxy_enqueue_shared_queue(queue: u32, at: u32, len: u32) => queues::enqueue;
        proxy_dequeue_shared_queue(queue: u32, out: u32, out_len: u32) => queues::dequeue;

        proxy_continue_stream(kind: u32) => streams::continue_stream;
        proxy_close_stream(kind: u32) => streams::close_stream;
        proxy_send_local_response(code: u32, details: u32, details_len: u32, body: u32, body_len: u32,
            headers: u32, headers_len: u32, grpc_status: u32) => streams::send_local_response;

        proxy_http_call(cluster: u32, cluster_len: u32, headers: u32, headers_len: u32, body: u32,
            body_len: u32, trailers: u32, trailers_len: u32, timeout: u32, out: u32) => http_call::dispatch;

        proxy_grpc_call(upstream: u32, upstream_len: u32, service: u32, service_len: u32, method: u32,
            method_len: u32, metadata: u32, metadata_len: u32, message: u32, message_len: u32, timeout: u32,
            out: u32) => grpc::call;
        proxy_grpc_stream(upstream: u32, upstream_len: u32, service: u32, service_len: u32, method: u32,
            method_len: u32, metadata: u32, metadata_len: u32, out: u32) => grpc::open;
        proxy_grpc_send(id: u32, at: u32, len: u32, end: u32) => grpc::send;
        proxy_grpc_cancel(id: u32) => grpc::cancel;
        proxy_grpc_close(id: u32) => grpc::close;

        proxy_define_metric(kind: u32, name: u32, name_len: u32, out: u32) => metrics::define;
        proxy_get_metric(id: u32, out: u32) => metrics::get;
        proxy_record_metric(id: u32, value: u64) => metrics::record;
        proxy_increment_metric(id: u32, by: i64) => metrics::increment;
    }
    imports! { linker, "wasi_snapshot_preview1", wasi::errno:
        environ_get(pointers: u32, strings: u32) => wasi::environ_get;
        environ_sizes_get(count: u32, bytes: u32) => wasi::environ_sizes_get;
        fd_write(fd: u32, pieces: u32, pieces_len: u32, out: u32) => wasi::fd_write;
        random_get(at: u32, len: u32) => wasi::random_get;
        clock_time_get(clock: u32, precision: u64, out: u32) => wasi::clock_time_get;
    }
    imports! { linker, "wasi_snapshot_preview1", std::convert::identity:
        proc_exit(code: u32) => wasi::proc_exit;
    }
    Ok(())
}
