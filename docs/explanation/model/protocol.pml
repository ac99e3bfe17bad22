/*
 * The protocol of driver lease, tenant lock, generation fence, requests and settling, for spin.
 * docs/explanation/protocol-model.md says which code each part stands for.
 *
 * One tenant, two tasks that queue for its lock, two processes that want to drive, requests from outside. A process may
 * die at any point (it forgets everything), or lose its lease without knowing (it was frozen) and go on.
 *
 * Mistakes that the checker must find: -DNO_FENCE -DNO_EPOCH_CHECK -DSPLIT_ANSWER -DKEEP_GENERATION
 */

#define STAGES 2
#define TASKS 2
#define REQUESTS 2
#define ACCIDENTS 3

/* the store: what survives every process */
byte epoch, holder;             /* driver lease: number of the newest one, and who holds it (0: nobody) */
byte owner = 1;                 /* tenant lock: the task that owns it; above TASKS: all have settled */
byte generation;                /* of the tenant */
byte stage;                     /* complete stages of the owner */
byte events;                    /* sequence: the number of the last event */
bool put[REQUESTS], answered[REQUESTS], effective[REQUESTS];

/* the target */
byte held;                      /* generation beside the value */
byte newest_writer;             /* ghost: the newest lease under which anybody has written */
byte written_for = 1;           /* ghost: the latest task for which anybody has written */

byte accidents;

#define settled (owner > TASKS)
#define served (answered[0] && answered[1])

#ifdef NO_EPOCH_CHECK
#define MAY_COMMIT true
#else
#define MAY_COMMIT (holder == me && epoch == my_epoch)
#endif

/* a commit takes effect as one, or is refused; each carries the next number */
#define COMMIT(what) \
    atomic { \
        if \
        :: MAY_COMMIT -> assert(events == my_events); my_events++; events = my_events; what \
        :: else -> goto follow \
        fi \
    }

active [2] proctype process() {
    byte me = _pid + 1, my_epoch, my_generation, my_events, my_task, number;

follow:
    do
    :: settled && served -> goto end
    :: atomic { holder == 0 && !(settled && served) ->
           epoch++; holder = me; my_epoch = epoch; my_events = events; my_task = owner } ->
       break
    od;

    /* take-over: the owner's run begins anew, under a new generation, in one commit */
#ifdef KEEP_GENERATION
    my_generation = generation;
    if :: generation == 0 -> COMMIT(generation = 1; my_generation = 1) :: else fi;
#else
    COMMIT(generation++; my_generation = generation)
#endif

drive:
    do
    :: settled && served ->
       atomic { if :: holder == me && epoch == my_epoch -> holder = 0 :: else fi };
       goto end

    /* a request of another process: its effect and its answer are one commit */
    :: put[0] && !answered[0] -> number = 0; goto decide
    :: put[1] && !answered[1] -> number = 1; goto decide

    /* a stage: write to the target, then commit */
    :: my_task <= TASKS ->
       atomic {
           if
#ifndef NO_FENCE
           :: my_generation < held -> goto follow /* STALE_GENERATION */
#endif
           :: else ->
              assert(my_epoch >= newest_writer); /* nobody overwrites what a newer driver wrote */
              assert(my_task >= written_for);    /* nor what the next owner of the lock wrote */
              held = my_generation; newest_writer = my_epoch; written_for = my_task
           fi
       };
       COMMIT(stage++;
           if
           :: stage == STAGES -> /* the task settles; the lock passes to the next one in the same commit */
              stage = 0; owner++; my_task = owner; generation++; my_generation = generation
           :: else
           fi)

    /* accidents */
    :: accidents < ACCIDENTS -> /* death: the lease is free, and everything that it knew is gone */
       atomic {
           accidents++;
           if :: holder == me && epoch == my_epoch -> holder = 0 :: else fi;
           my_epoch = 0; my_generation = 0; my_events = 0; my_task = 0
       };
       goto follow
    :: atomic { accidents < ACCIDENTS && holder == me -> accidents++; holder = 0 } /* frozen: it goes on, and knows nothing */
    od;

decide:
#ifdef SPLIT_ANSWER
    COMMIT(answered[number] = true)
    if
    :: atomic { accidents < ACCIDENTS -> accidents++; if :: holder == me && epoch == my_epoch -> holder = 0 :: else fi };
       goto follow
    :: true
    fi;
    COMMIT(effective[number] = true)
#else
    COMMIT(effective[number] = true; answered[number] = true)
#endif
    goto drive;

end:
    skip
}

active proctype people() {
    put[0] = true;
    put[1] = true
}

/* no acknowledged request is lost */
#ifdef SPLIT_ANSWER
ltl kept { [] ((answered[0] -> <> effective[0]) && (answered[1] -> <> effective[1])) }
#else
ltl kept { [] ((answered[0] -> effective[0]) && (answered[1] -> effective[1])) }
#endif

/* with finitely many accidents everything settles, and every request is answered */
ltl settles { <> (settled && served) }
