/**
 * How many signatures a member is asked for at once: enough to keep it busy, and not more.
 *
 * Past the knee more in flight brings no more signatures per second, only a queue inside the HSM, where it can
 * neither go to another member nor be hedged. The knee is found as TCP Vegas finds it, by how much slower answers are than
 * at their best, with two changes. Answers that get slower for another reason (an HSM that others use too, an RSA key
 * besides an EC key, a busy machine) must not cost throughput; so before the limit shrinks, half of it is
 * tried for one round, and all of it for another: only if answers are faster with half was it our own queue. Envoy's adaptive
 * concurrency measures its minRTT in a similar way. And a wait below two milliseconds is nobody's trouble, so a token in software keeps all its sessions.
 *
 * An answer that says "busy" takes half a place, and so a round of nothing else halves the limit, and a few take little
 * (DCTCP, RFC 8257). With one place left it is not the number that is too much for the HSM, but the rate (pace.ts).
 *
 * Pure: no timers and no clock of its own. All times are `performance.now()`.
 */

import { Pace } from './pace.ts'

export interface Answered {
  /** Time in the HSM, without queueing before it. */
  readonly serviceMs: number
  readonly sentAtMs: number
  readonly nowMs: number
  /** Asked for and not answered, this one included. */
  readonly inFlight: number
}

export class ConcurrencyLimit {
  readonly #pace = new Pace()
  #max = 0
  #limit = INITIAL
  #phase: 'slow-start' | 'steady' | 'half' | 'control' = 'slow-start'
  /** Of the best rounds: what an answer takes when nothing waits in the HSM. */
  #bestMs = Number.POSITIVE_INFINITY
  #round = new Round(0)
  /** Of the experiment: the round with half the limit. */
  #half = this.#round
  #nextExperimentMs = 0

  /** Between 1 and the number of sessions; 0 while there are none. */
  get value(): number {
    const limit = this.#phase === 'half' ? this.#limit / 2 : this.#limit
    return Math.min(Math.max(1, Math.floor(limit)), this.#max)
  }

  /** It has said "busy" with one place left, and is asked for nothing until `resume`. */
  get paused(): boolean {
    return this.#pace.paused
  }

  /** Requests a second, at most; undefined unless it throttles. */
  get perSecond(): number | undefined {
    return this.#pace.perSecond
  }

  /** @param sessions that the token gives. */
  setMax(sessions: number): void {
    this.#max = sessions
  }

  /** A host has opened the token: nothing is known of it. */
  reset(nowMs: number): void {
    this.#limit = INITIAL
    this.#phase = 'slow-start'
    this.#bestMs = Number.POSITIVE_INFINITY
    this.#round = new Round(nowMs)
    this.#pace.reset()
  }

  /** A request was sent. */
  sent(): void {
    this.#pace.sent()
  }

  /** A signature has come. */
  answered(answer: Answered): void {
    const { sentAtMs, nowMs } = answer
    this.#pace.granted(sentAtMs, nowMs)
    // What was sent earlier tells of another limit, or has met the queue that it left.
    if (sentAtMs < this.#round.startedAtMs) return
    this.#round.add(answer, this.value)
    if (this.#round.count < Math.max(ROUND_ANSWERS, 2 * this.value)) return
    if (this.#phase === 'steady' && nowMs - this.#round.startedAtMs < STEADY_ROUND_MS) return
    const round = this.#round
    this.#round = new Round(nowMs + round.meanMs)
    this.#endOf(round, nowMs)
  }

  /** The HSM has said that it is asked for too much. */
  throttled(nowMs: number): void {
    this.#phase = 'steady'
    this.#round.throttled = true
    this.#limit = Math.max(this.#placesForPace, Math.min(this.#limit, this.#max) - 0.5)
    if (this.value > this.#placesForPace) return
    this.#pace.busy(nowMs)
    this.#limit = this.#placesForPace
  }

  /** To be called every few milliseconds while anybody waits. @returns true once, when a pause is over. */
  resume(nowMs: number): boolean {
    return this.#pace.resume(nowMs)
  }

  /** By Little's law, with some to spare: an HSM that takes long for each needs several at once to be asked so often. */
  get #placesForPace(): number {
    const perSecond = this.#pace.perSecond
    if (perSecond === undefined || this.#bestMs === Number.POSITIVE_INFINITY) return 1
    return Math.max(1, Math.min(Math.ceil((perSecond * this.#bestMs) / 1000), this.#max))
  }

  #endOf(round: Round, nowMs: number): void {
    if (this.#phase === 'half') {
      this.#half = round
      this.#phase = 'control'
      return
    }
    if (this.#phase === 'control') {
      this.#judge(this.#half, round, nowMs)
      return
    }
    // Only a part of the way: one lucky round is not what answers take.
    if (this.#bestMs === Number.POSITIVE_INFINITY) this.#bestMs = round.meanMs
    else this.#bestMs -= Math.max(0, this.#bestMs - round.meanMs) / 4
    const patienceMs = this.#patienceMs
    const allowed = slack(round.meanInFlight)
    const queued = round.queued(patienceMs)
    if (queued <= allowed && round.filled && !round.throttled) this.#grow()
    else if (round.meanMs > patienceMs) this.#phase = 'steady'
    // Slower without end, or slower for good: both want to know whose queue it is.
    const due = queued > 2 * allowed || this.#limit < this.#max
    if (round.meanMs > patienceMs && round.filled && due && nowMs >= this.#nextExperimentMs)
      this.#phase = 'half'
  }

  /** Up to here an answer is no slower than it must be. */
  get #patienceMs(): number {
    return Math.max(this.#bestMs * TOLERANCE, this.#bestMs + UNNOTICED_MS)
  }

  #grow(): void {
    const limit = Math.min(this.#limit, this.#max)
    this.#limit = this.#phase === 'slow-start' ? 2 * limit : limit + Math.max(1, limit / 8)
    if (this.#limit >= this.#max) this.#phase = 'steady'
    this.#limit = Math.min(this.#limit, this.#max)
  }

  /** A slow round is often followed by a quicker one whatever we do: what counts is how the two after it compare. */
  #judge(half: Round, control: Round, nowMs: number): void {
    this.#phase = 'steady'
    this.#nextExperimentMs = nowMs + EXPERIMENT_REST_MS
    // There was not enough to do to see anything.
    if (!control.filled) return
    if (half.meanMs > control.meanMs * CLEARLY_FASTER) {
      // Not our queue: the service itself takes that long now.
      this.#bestMs = half.meanMs
      return
    }
    this.#bestMs = Math.min(this.#bestMs, half.meanMs)
    const { meanInFlight } = control
    const queued = control.queued(this.#patienceMs)
    if (queued <= 2 * slack(meanInFlight)) return
    this.#limit = Math.max(meanInFlight - queued + slack(meanInFlight), meanInFlight / 2)
    // One half may not have been enough.
    this.#nextExperimentMs = nowMs
  }
}

/** Answers to what was sent under one limit. */
class Round {
  readonly startedAtMs: number
  count = 0
  /** Somebody could have used more. */
  filled = false
  throttled = false
  #sumMs = 0
  #sumInFlight = 0

  constructor(startedAtMs: number) {
    this.startedAtMs = startedAtMs
  }

  add({ serviceMs, inFlight }: Answered, limit: number): void {
    this.count++
    this.#sumMs += serviceMs
    this.#sumInFlight += inFlight
    if (inFlight >= limit) this.filled = true
  }

  get meanMs(): number {
    return this.#sumMs / this.count
  }

  get meanInFlight(): number {
    return this.#sumInFlight / this.count
  }

  /** By Little's law: how many of those in flight made answers slower than `patienceMs`. */
  queued(patienceMs: number): number {
    return this.meanInFlight * (1 - patienceMs / this.meanMs)
  }
}

/** So many may wait inside the HSM, for it never to wait for us. */
function slack(inFlight: number): number {
  return Math.max(2, inFlight / 8)
}

// As TCP's initial window: few enough that the first answers tell what one takes undisturbed.
const INITIAL = 4
// At least; and twice the limit, for the queue that it makes to be seen.
const ROUND_ANSWERS = 16
// Growth by an eighth per round is from 1 to 32 in about a second.
const STEADY_ROUND_MS = 50
// Each costs half the sessions for a moment.
const EXPERIMENT_REST_MS = 1000
// Service times vary; at half as many again a queue is plain, and all servers of the HSM are busy.
const TOLERANCE = 1.5
const UNNOTICED_MS = 2
// Half as many in flight make an answer half as slow if all of it was queueing, and not faster at all if none was.
const CLEARLY_FASTER = 0.8
