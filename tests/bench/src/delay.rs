//! A proxy that stands for distance: whatever goes through arrives later by half a round trip, and as fast as before.
//!
//! Bytes are taken from one side at once and given to the other when their time has come, so throughput is limited by what
//! may be on its way, not by the delay. A connection's first bytes wait a round trip more, as its handshake would. It knows
//! nothing of what it carries, and nothing of slow starts and losses.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// What is taken at once, at most.
const PIECE: usize = 256 << 10;
/// How many pieces may be on their way in one direction of a connection: 64 MiB.
const UNDER_WAY: usize = 256;

/// Serves for as long as the process lives; `round_trip` is what it adds.
pub fn serve(listener: &TcpListener, upstream: &str, round_trip: Duration) -> Result<()> {
    for client in listener.incoming() {
        let client = client?;
        let server = TcpStream::connect(upstream)?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        carry(client.try_clone()?, server.try_clone()?, round_trip / 2, round_trip);
        carry(server, client, round_trip / 2, Duration::ZERO);
    }
    Ok(())
}

/// Begins to carry one direction.
fn carry(from: TcpStream, to: TcpStream, delay: Duration, handshake: Duration) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    let opened = Instant::now() + handshake;
    // A connection that breaks concerns those at its ends.
    std::thread::spawn(move || take(from, &sender, opened, delay).ok());
    std::thread::spawn(move || give(to, &receiver).ok());
}

fn take(mut from: TcpStream, sender: &SyncSender<(Instant, Vec<u8>)>, opened: Instant, delay: Duration) -> Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = from.read(&mut piece)?;
        let due = Instant::now().max(opened) + delay;
        if sender.send((due, piece[..length].to_vec())).is_err() || length == 0 {
            return Ok(());
        }
    }
}

fn give(mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) -> Result<()> {
    for (due, bytes) in receiver {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if bytes.is_empty() {
            break;
        }
        to.write_all(&bytes)?;
    }
    to.shutdown(Shutdown::Write)
}
