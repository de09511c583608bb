//! Many messages from librdkafka by one call.
//!
//! `rd_kafka_consume_batch_queue` costs 200 ns of CPU a message where `BaseConsumer::poll` costs 450 to 550, but rdkafka
//! does not wrap it. This is the only module with `unsafe`, and it does nothing else: it hands out messages, each of which is
//! destroyed when it is dropped, parts a partition's queue from the common one, and closes the consumer within a limit.
//!
//! librdkafka's log, which alone tells of connections, would come as an event too, and the batch call prints such events;
//! so it gets a queue of its own, from which [`Connection`] is told at each call. Nothing must be committed asynchronously
//! through this consumer: the reply would arrive as a kind of event that the batch call cannot return, and librdkafka
//! would abort.
//!
//! Tested with the reader, against a broker.
#![allow(unsafe_code, reason = "rdkafka has no safe form of rd_kafka_consume_batch_queue")]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_event_destroy, rd_kafka_event_log, rd_kafka_get_watermark_offsets,
    rd_kafka_header_get_last, rd_kafka_message_destroy, rd_kafka_message_headers, rd_kafka_message_t,
    rd_kafka_message_timestamp, rd_kafka_queue_destroy, rd_kafka_queue_forward, rd_kafka_queue_get_consumer,
    rd_kafka_queue_get_partition, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_queue_t, rd_kafka_resp_err_t,
    rd_kafka_set_log_queue,
};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use stream_core::time::Timestamp;

use super::connection::Connection;

/// Messages taken at once: enough that the calls cost nothing, and a bound on what one poll decodes.
pub(super) const BATCH: usize = 1024;

/// How long dropping may take. Closing can hang (rust-rdkafka #453, librdkafka #4674); then the client is left behind.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A consumer of one topic with its queue.
pub(super) struct BatchQueue {
    /// `None` only while it is dropped.
    consumer: Option<BaseConsumer<Connection>>,
    queue: NonNull<rd_kafka_queue_t>,
    log: NonNull<rd_kafka_queue_t>,
    topic: CString,
    /// Room for a batch.
    messages: Vec<Option<Received>>,
    /// The partitions whose queues are parted from the common one.
    apart: BTreeSet<i32>,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for BatchQueue {}

/// A message that was received; dropping it gives its memory back.
#[repr(transparent)]
pub(super) struct Received(NonNull<rd_kafka_message_t>);

// SAFETY: a message belongs to whoever received it, and may be read and destroyed on any thread.
unsafe impl Send for Received {}

/// What a message says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message<'a> {
    /// A record.
    Record {
        /// Its partition.
        partition: i32,
        /// Its offset.
        offset: u64,
        /// Its value; `None` for a tombstone.
        payload: Option<&'a [u8]>,
    },
    /// The end of a partition, for now.
    End {
        /// Its partition.
        partition: i32,
        /// The offset that the next record will have, at least.
        offset: u64,
    },
    /// Something went wrong.
    Failure {
        /// With which partition; `None` if it concerns the client as a whole.
        partition: Option<i32>,
        /// The offset it happened at, if it says so.
        offset: Option<u64>,
        /// A `rd_kafka_resp_err_t`, as a number because brokers may send codes that this version has no name for.
        code: i32,
        /// In librdkafka's words.
        words: &'a [u8],
    },
}

impl BatchQueue {
    /// Takes over a consumer, which must have a `group.id`; `None` if it has no queue.
    pub(super) fn new(consumer: BaseConsumer<Connection>, topic: &str) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client is alive. The references to both queues are given back in `drop`, before the client goes.
        let (queue, log) = unsafe { (rd_kafka_queue_get_consumer(client), rd_kafka_queue_new(client)) };
        let log = NonNull::new(log)?;
        // SAFETY: client and queue are alive; the client takes a reference of its own.
        unsafe { rd_kafka_set_log_queue(client, log.as_ptr()) };
        let queue = NonNull::new(queue)?;
        Some(BatchQueue {
            consumer: Some(consumer),
            queue,
            log,
            topic,
            messages: Vec::with_capacity(BATCH),
            apart: BTreeSet::new(),
        })
    }

    /// The consumer, for everything but reading.
    pub(super) fn consumer(&self) -> &BaseConsumer<Connection> {
        self.consumer.as_ref().expect("it is there until the queue is dropped")
    }

    /// Waits up to `max_wait` for a first message and takes what is there with it, in order: that of their offsets within each
    /// partition.
    pub(super) fn receive(&mut self, max_wait: Duration) -> impl Iterator<Item = Received> + '_ {
        self.forward_log();
        // With a time limit the call would wait for a full batch, so it is only given one to wait for a single message.
        self.take(BATCH, Duration::ZERO);
        if self.messages.is_empty() && !max_wait.is_zero() {
            self.take(1, max_wait);
            if !self.messages.is_empty() {
                self.take(BATCH - 1, Duration::ZERO);
            }
        }
        self.messages.drain(..).flatten()
    }

    /// Parts a partition's queue from the common one, so that nothing more is received of it; or joins it again, with what has come
    /// meanwhile. The client fetches for a queue until it holds `queued.max.messages.kbytes`, so a partition that is apart keeps so
    /// much and stops by itself, and no other waits for it. What was in the common queue stays there.
    pub(super) fn set_apart(&mut self, partition: i32, is_apart: bool) {
        if is_apart && self.apart.insert(partition) {
            self.forward(partition, ptr::null_mut());
        } else if !is_apart && self.apart.contains(&partition) {
            self.join(partition);
        }
    }

    /// Joins a partition's queue with the common one, whatever it was.
    pub(super) fn join(&mut self, partition: i32) {
        self.apart.remove(&partition);
        self.forward(partition, self.queue.as_ptr());
    }

    /// Has a partition's queue forwarded to another, with what is in it; null for none.
    fn forward(&self, partition: i32, to: *mut rd_kafka_queue_t) {
        let client = self.consumer().client().native_ptr();
        // SAFETY: the client is alive, the topic is a C string; the reference to the queue is given back below.
        let own = NonNull::new(unsafe { rd_kafka_queue_get_partition(client, self.topic.as_ptr(), partition) });
        let Some(own) = own else { return };
        // SAFETY: both queues are alive; librdkafka takes a reference of its own to `to`.
        unsafe {
            rd_kafka_queue_forward(own.as_ptr(), to);
            rd_kafka_queue_destroy(own.as_ptr());
        }
    }

    /// The offset that follows a partition's last record, as the last fetch told; asks nobody.
    pub(super) fn known_end(&self, partition: i32) -> Option<u64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, the topic is a C string, and both results are written to our own variables.
        let code = unsafe {
            rd_kafka_get_watermark_offsets(
                self.consumer().client().native_ptr(),
                self.topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        let is_known = code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
        u64::try_from(high).ok().filter(|_| is_known)
    }

    /// Tells [`Connection`] what was logged meanwhile.
    fn forward_log(&self) {
        loop {
            // SAFETY: the queue is alive; each event is ours and destroyed below.
            let Some(event) = NonNull::new(unsafe { rd_kafka_queue_poll(self.log.as_ptr(), 0) }) else { return };
            let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the event is alive, and the results are written to our own variables.
            let code = unsafe { rd_kafka_event_log(event.as_ptr(), &raw mut facility, &raw mut line, &raw mut level) };
            // Anything but a log line is told by another code, and leaves the pointers as they were.
            if code == 0 && !facility.is_null() && !line.is_null() {
                // SAFETY: both are C strings of the event, which is alive.
                let (facility, line) = unsafe { (CStr::from_ptr(facility), CStr::from_ptr(line)) };
                // rdkafka's own conversion is private; what matters is whether it is an error.
                let is_error = level <= RDKafkaLogLevel::Error as c_int;
                let level = if is_error { RDKafkaLogLevel::Error } else { RDKafkaLogLevel::Info };
                self.consumer().context().log(level, &facility.to_string_lossy(), &line.to_string_lossy());
            }
            // SAFETY: it was received once and is used no more.
            unsafe { rd_kafka_event_destroy(event.as_ptr()) };
        }
    }

    /// Appends up to `max` messages.
    fn take(&mut self, max: usize, max_wait: Duration) {
        let wait_ms = c_int::try_from(max_wait.as_millis()).unwrap_or(c_int::MAX);
        let taken = self.messages.len();
        self.messages.resize_with(taken + max, || None);
        // SAFETY: the queue is alive, and there is room for `max` pointers behind the `taken` ones. An `Option` of a transparent
        // wrapper of `NonNull` is a pointer that may be null.
        let count = unsafe {
            let room = self.messages.as_mut_ptr().add(taken).cast::<*mut rd_kafka_message_t>();
            rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, room, max)
        };
        // A negative count is an error that this call, on a queue, does not have; nothing was taken then.
        self.messages.truncate(taken + usize::try_from(count).unwrap_or(0));
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        // SAFETY: it was received once, is ours, and is destroyed only here.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

impl Received {
    /// The value of its last header of this name.
    pub(super) fn header(&self, name: &CStr) -> Option<&[u8]> {
        let (mut headers, mut value, mut size) = (ptr::null_mut(), ptr::null(), 0);
        // SAFETY: the message is alive and keeps its headers; the result is written to our own variable.
        let code = unsafe { rd_kafka_message_headers(self.0.as_ptr(), &raw mut headers) };
        if code != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        // SAFETY: the headers are alive with the message, the name is a C string; the results are written to our own variables.
        let code = unsafe { rd_kafka_header_get_last(headers, name.as_ptr(), &raw mut value, &raw mut size) };
        let is_there = code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && !value.is_null();
        // SAFETY: librdkafka says that `size` bytes stand there, unchanged until the message is destroyed.
        is_there.then(|| unsafe { slice::from_raw_parts(value.cast::<u8>(), size) })
    }

    /// When it was made, or appended, as the topic has it; `None` for a record without a time.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        // SAFETY: the message is alive; nobody has to be told of which kind the time is.
        let ms = unsafe { rd_kafka_message_timestamp(self.0.as_ptr(), ptr::null_mut()) };
        (ms >= 0).then_some(Timestamp(ms))
    }

    /// What it says.
    pub(super) fn read(&self) -> Message<'_> {
        let message = self.0.as_ptr();
        const END: i32 = rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32;
        // SAFETY: the message is alive. Its code is read as the number it is in C: the enum of the bindings would be
        // invalid with a code that it does not list.
        let code = unsafe { (&raw const (*message).err).cast::<i32>().read() };
        // SAFETY: as above; these are plain numbers and pointers, valid whatever their value.
        let (partition, offset, payload, length, topic) =
            unsafe { ((*message).partition, (*message).offset, (*message).payload, (*message).len, (*message).rkt) };
        // SAFETY: librdkafka says that `length` bytes stand at `payload`, unchanged until the message is destroyed.
        let payload = (!payload.is_null()).then(|| unsafe { slice::from_raw_parts(payload.cast::<u8>(), length) });
        let offset = u64::try_from(offset).ok();
        match code {
            0 => Message::Record { partition, offset: offset.unwrap_or(0), payload },
            END => Message::End { partition, offset: offset.unwrap_or(0) },
            _ => Message::Failure {
                partition: (!topic.is_null()).then_some(partition),
                offset,
                code,
                words: payload.unwrap_or_default(),
            },
        }
    }
}

impl Drop for BatchQueue {
    fn drop(&mut self) {
        // What lies in a queue of its own keeps the partition alive, and with it the client.
        for &partition in &self.apart {
            self.forward(partition, self.queue.as_ptr());
        }
        // SAFETY: this gives back the references that `new` took; the consumer is still alive.
        unsafe {
            rd_kafka_queue_destroy(self.queue.as_ptr());
            rd_kafka_queue_destroy(self.log.as_ptr());
        }
        let Some(consumer) = self.consumer.take() else { return };
        let (is_closed, closed) = sync_channel::<()>(1);
        let close = move || {
            drop(consumer);
            drop(is_closed);
        };
        // The channel is closed when the consumer is; nothing is ever sent. If no thread can be had, the consumer was
        // dropped with the closure, which is as good.
        if thread::Builder::new().name("kafka-close".to_owned()).spawn(close).is_ok() {
            let waited = closed.recv_timeout(CLOSE_WITHIN);
            if waited == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                tracing::warn!(within = ?CLOSE_WITHIN, "a Kafka client does not close; leaving it behind");
            }
        }
    }
}
