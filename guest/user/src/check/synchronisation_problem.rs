//! The classical problems of synchronisation (Downey, *The Little Book of Semaphores*).

use crate::frame::semaphore::Semaphore;
use crate::frame::synchronisation::{Barrier, join, pause, semaphore, start};
use crate::frame::thread::spawn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

tests!(
    producers_and_consumers_lose_nothing,
    finite_buffer_never_overflows,
    readers_share_and_writers_exclude,
    philosophers_all_eat,
    smokers_get_what_they_need,
    barber_serves_who_finds_a_chair,
    santa_is_woken_by_reindeer_and_elves,
    water_is_made_of_two_and_one,
    river_is_crossed_in_fours,
    roller_coaster_runs_full,
    dining_savages_refill_the_pot,
);

/// What so many consumers have consumed of what as many producers have produced, through a buffer
/// with room for `room`; and the most that the buffer held.
fn produce_and_consume(room: usize) -> (Vec<usize>, usize) {
    const EACH: usize = 50;
    let (items, spaces) = (semaphore(0), semaphore(room as u32));
    let buffer = Arc::new(Mutex::new(Vec::new()));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let producers = {
        let (items, spaces, buffer) = (items.clone(), spaces.clone(), buffer.clone());
        start(3, move |me| {
            for i in 0..EACH {
                spaces.wait();
                let mut buffer = buffer.lock().unwrap();
                buffer.push(me * EACH + i);
                most.fetch_max(buffer.len(), SeqCst);
                drop(buffer);
                items.signal();
            }
        })
    };
    let consumers = start(3, move |_| {
        let take = |_| {
            items.wait();
            let item = buffer.lock().unwrap().pop().expect("an item was announced");
            spaces.signal();
            item
        };
        (0..EACH).map(take).collect::<Vec<usize>>()
    });
    join(producers);
    let mut all: Vec<usize> = join(consumers).into_iter().flatten().collect();
    all.sort_unstable();
    (all, seen.load(SeqCst))
}

fn producers_and_consumers_lose_nothing() {
    let (all, _) = produce_and_consume(1000);
    assert_eq!(all, (0..150).collect::<Vec<_>>());
}

fn finite_buffer_never_overflows() {
    let (all, most) = produce_and_consume(4);
    assert_eq!(all, (0..150).collect::<Vec<_>>());
    assert!(most <= 4, "{most} in the buffer");
}

fn readers_share_and_writers_exclude() {
    let (readers, room_empty) = (Mutex::new(0), semaphore(1));
    let (reading, writing) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let clean = join(start(8, move |me| {
        (0..30).all(|_| {
            if me < 2 {
                room_empty.wait();
                let alone = writing.fetch_add(1, SeqCst) == 0 && reading.load(SeqCst) == 0;
                pause();
                writing.fetch_sub(1, SeqCst);
                room_empty.signal();
                return alone;
            }
            let mut count = readers.lock().unwrap();
            *count += 1;
            if *count == 1 {
                room_empty.wait();
            }
            drop(count);
            reading.fetch_add(1, SeqCst);
            pause();
            let no_writer = writing.load(SeqCst) == 0;
            reading.fetch_sub(1, SeqCst);
            let mut count = readers.lock().unwrap();
            *count -= 1;
            if *count == 0 {
                room_empty.signal();
            }
            no_writer
        })
    }));
    assert_eq!(clean, [true; 8]);
}

fn philosophers_all_eat() {
    let forks: [Semaphore; 5] = std::array::from_fn(|_| Semaphore::new(1));
    let footman = Semaphore::new(4);
    let meals = join(start(5, move |me| {
        for _ in 0..30 {
            footman.wait();
            forks[me].wait();
            pause();
            forks[(me + 1) % 5].wait();
            forks[me].signal();
            forks[(me + 1) % 5].signal();
            footman.signal();
        }
        30
    }));
    assert_eq!(meals.iter().sum::<usize>(), 150);
}

fn smokers_get_what_they_need() {
    const ROUNDS: usize = 30;
    let missing: Arc<[Semaphore; 3]> = Arc::new(std::array::from_fn(|_| Semaphore::new(0)));
    let table = semaphore(1);
    let (their_missing, their_table) = (missing.clone(), table.clone());
    let smokers = start(3, move |me| {
        for _ in 0..ROUNDS / 3 {
            their_missing[me].wait();
            their_table.signal();
        }
    });
    for round in 0..ROUNDS {
        table.wait();
        missing[round % 3].signal();
    }
    join(smokers);
}

fn barber_serves_who_finds_a_chair() {
    const CUSTOMERS: usize = 20;
    const CHAIRS: usize = 4;
    let (customer, barber, done) = (semaphore(0), semaphore(0), semaphore(0));
    let waiting = Arc::new(Mutex::new(0));
    let (their_customer, their_barber, their_done) =
        (customer.clone(), barber.clone(), done.clone());
    let served = start(CUSTOMERS, move |_| {
        let mut count = waiting.lock().unwrap();
        if *count == CHAIRS {
            return false;
        }
        *count += 1;
        drop(count);
        their_customer.signal();
        their_barber.wait();
        their_done.wait();
        *waiting.lock().unwrap() -= 1;
        true
    });
    let closed = Arc::new(AtomicBool::new(false));
    let (sign, bell) = (closed.clone(), customer.clone());
    let shop = spawn(move || {
        let mut cuts = 0;
        loop {
            customer.wait();
            if sign.load(SeqCst) {
                return cuts;
            }
            barber.signal();
            cuts += 1;
            done.signal();
        }
    });
    let served = join(served).into_iter().filter(|served| *served).count();
    closed.store(true, SeqCst);
    bell.signal();
    assert_eq!(shop.join(), served);
    assert!(served >= CHAIRS);
}

fn santa_is_woken_by_reindeer_and_elves() {
    const REINDEER: usize = 9;
    const ELVES: usize = 6;
    let (santa, sleigh, help) = (semaphore(0), semaphore(0), semaphore(0));
    let elf_door = semaphore(3);
    let reindeer_back = Arc::new(AtomicUsize::new(0));
    let elves_waiting = Arc::new(Mutex::new(0));
    let (bell, hitched, back) = (santa.clone(), sleigh.clone(), reindeer_back.clone());
    let reindeer = start(REINDEER, move |_| {
        if back.fetch_add(1, SeqCst) + 1 == REINDEER {
            bell.signal();
        }
        hitched.wait();
    });
    let (bell, helped, queue) = (santa.clone(), help.clone(), elves_waiting.clone());
    let elves = start(ELVES, move |_| {
        elf_door.wait();
        let mut waiting = queue.lock().unwrap();
        *waiting += 1;
        if *waiting == 3 {
            bell.signal();
        }
        drop(waiting);
        helped.wait();
        let mut waiting = queue.lock().unwrap();
        *waiting -= 1;
        if *waiting == 0 {
            (0..3).for_each(|_| elf_door.signal());
        }
    });
    let (mut rides, mut lessons) = (0, 0);
    while rides + lessons < 1 + ELVES / 3 {
        santa.wait();
        if rides == 0 && reindeer_back.load(SeqCst) == REINDEER {
            (0..REINDEER).for_each(|_| sleigh.signal());
            rides += 1;
        } else {
            (0..3).for_each(|_| help.signal());
            lessons += 1;
        }
    }
    join(reindeer);
    join(elves);
    assert_eq!((rides, lessons), (1, 2));
}

fn water_is_made_of_two_and_one() {
    const MOLECULES: usize = 6;
    let waiting = Mutex::new([0usize; 2]);
    let queues = [semaphore(0), semaphore(0)];
    let barrier = Barrier::new(3);
    let turn = semaphore(1);
    let bonds = Mutex::new(Vec::new());
    let bonds = Arc::new(bonds);
    let seen = bonds.clone();
    // Every third is oxygen.
    join(start(3 * MOLECULES, move |me| {
        let kind = usize::from(me % 3 == 0);
        let mut counts = waiting.lock().unwrap();
        counts[kind] += 1;
        if counts[0] >= 2 && counts[1] >= 1 {
            turn.wait();
            *counts = [counts[0] - 2, counts[1] - 1];
            queues[0].signal();
            queues[0].signal();
            queues[1].signal();
        }
        drop(counts);
        queues[kind].wait();
        bonds.lock().unwrap().push(kind);
        barrier.wait();
        if kind == 1 {
            turn.signal();
        }
    }));
    let atoms = seen.lock().unwrap();
    for molecule in atoms.chunks(3) {
        assert_eq!(molecule.iter().sum::<usize>(), 1, "{atoms:?}");
    }
}

fn river_is_crossed_in_fours() {
    const PASSENGERS: usize = 16;
    let (mutex, boat) = (Mutex::new(0), semaphore(0));
    let pier = Barrier::new(4);
    let trips = Arc::new(AtomicUsize::new(0));
    let seen = trips.clone();
    join(start(PASSENGERS, move |_| {
        let mut aboard = mutex.lock().unwrap();
        *aboard += 1;
        // The captain keeps everybody else away until the boat has left.
        let captain = if *aboard == 4 {
            *aboard = 0;
            (0..4).for_each(|_| boat.signal());
            Some(aboard)
        } else {
            drop(aboard);
            None
        };
        boat.wait();
        pier.wait();
        if captain.is_some() {
            trips.fetch_add(1, SeqCst);
        }
    }));
    assert_eq!(seen.load(SeqCst), PASSENGERS / 4);
}

fn roller_coaster_runs_full() {
    const SEATS: usize = 4;
    const RIDES: usize = 5;
    let (board, unboard) = (semaphore(0), semaphore(0));
    let (full, empty) = (semaphore(0), semaphore(0));
    let riding = Arc::new(AtomicUsize::new(0));
    let passengers = {
        let (board, unboard) = (board.clone(), unboard.clone());
        let (full, empty) = (full.clone(), empty.clone());
        let (aboard, ashore) = (Mutex::new(0), Mutex::new(0));
        let riding = riding.clone();
        start(SEATS * RIDES, move |_| {
            board.wait();
            riding.fetch_add(1, SeqCst);
            let mut count = aboard.lock().unwrap();
            *count += 1;
            if *count == SEATS {
                *count = 0;
                full.signal();
            }
            drop(count);
            unboard.wait();
            riding.fetch_sub(1, SeqCst);
            let mut count = ashore.lock().unwrap();
            *count += 1;
            if *count == SEATS {
                *count = 0;
                empty.signal();
            }
        })
    };
    for _ in 0..RIDES {
        (0..SEATS).for_each(|_| board.signal());
        full.wait();
        assert_eq!(riding.load(SeqCst), SEATS);
        (0..SEATS).for_each(|_| unboard.signal());
        empty.wait();
        assert_eq!(riding.load(SeqCst), 0);
    }
    join(passengers);
}

fn dining_savages_refill_the_pot() {
    const POT: usize = 5;
    let (servings, empty, full) = (Arc::new(Mutex::new(0)), semaphore(0), semaphore(0));
    let (their_servings, hungry, filled) = (servings.clone(), empty.clone(), full.clone());
    let savages = start(5, move |_| {
        for _ in 0..8 {
            let mut servings = their_servings.lock().unwrap();
            if *servings == 0 {
                hungry.signal();
                filled.wait();
                *servings = POT;
            }
            *servings -= 1;
        }
    });
    for _ in 0..5 * 8 / POT {
        empty.wait();
        full.signal();
    }
    join(savages);
    assert_eq!(*servings.lock().unwrap(), 0);
}
