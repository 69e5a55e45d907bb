//! Channels between threads.

use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError, TrySendError};
use std::thread;
use std::time::Duration;

/// Try everything once, and print what came of it.
pub fn run() {
    many_producers();
    rendezvous();
    bounded();
    pipeline();
    ends();
    timeout();
}

fn many_producers() {
    let (sender, receiver) = mpsc::channel();
    for producer in 0..4u64 {
        let sender = sender.clone();
        thread::spawn(move || {
            for n in 0..1000 {
                sender.send((producer, n)).unwrap();
            }
        });
    }
    drop(sender);
    // What one producer sends arrives in its order.
    let mut next = [0; 4];
    for (producer, n) in receiver {
        assert_eq!(next[producer as usize], n);
        next[producer as usize] += 1;
    }
    println!("producers {next:?}");
}

fn rendezvous() {
    let (sender, receiver) = mpsc::sync_channel(0);
    let thread = thread::spawn(move || (0..50).for_each(|n| sender.send(n).unwrap()));
    let sum: u32 = receiver.iter().sum();
    thread.join().unwrap();
    println!("rendezvous {sum}");
}

fn bounded() {
    let (sender, receiver) = mpsc::sync_channel(2);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    let full = matches!(sender.try_send(3), Err(TrySendError::Full(3)));
    println!(
        "bounded {full} {:?}",
        receiver.try_iter().collect::<Vec<_>>()
    );
}

fn pipeline() {
    let (first, stage) = mpsc::channel::<u64>();
    let mut last = stage;
    for add in 1..=5 {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for n in last {
                sender.send(n * 2 + add).unwrap();
            }
        });
        last = receiver;
    }
    for n in 0..10 {
        first.send(n).unwrap();
    }
    drop(first);
    println!("pipeline {:?}", last.iter().collect::<Vec<_>>());
}

fn ends() {
    let (sender, receiver) = mpsc::channel::<u32>();
    let empty = receiver.try_recv() == Err(TryRecvError::Empty);
    drop(sender);
    let gone = receiver.try_recv() == Err(TryRecvError::Disconnected);
    let (sender, receiver) = mpsc::channel();
    drop(receiver);
    println!("ends {empty} {gone} {}", sender.send(1).is_err());
}

fn timeout() {
    let (sender, receiver) = mpsc::channel::<u32>();
    let result = receiver.recv_timeout(Duration::from_millis(10));
    println!("timeout {}", result == Err(RecvTimeoutError::Timeout));
    drop(sender);
}
