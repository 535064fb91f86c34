/** Faults without end, from a seed: the same seed gives the same members, faults, numbers and times. */

/** What is done to a member at once, and for how long. */
export interface FaultAct {
  /** For the control file of p11-faults.c; they replace those of the act before. */
  readonly rules: readonly string[]
  /** To the host process. */
  readonly signal?: NodeJS.Signals
  readonly lastsMs: number
}

/** One to four faults in a row, without time to heal in between. */
export interface Trouble<Member> {
  readonly member: Member
  readonly faults: readonly FaultAct[]
}

export function* planFaults<Member>(seed: number, members: readonly Member[]): Generator<Trouble<Member>> {
  const random = new SeededRandom(seed)
  // reboot and logout happen when their number changes
  for (let event = 1; ; ) {
    const faults = Array.from({ length: random.integer(1, 4) }, () => ({
      ...random.oneOf(FAULTS)(random, event++),
      lastsMs: random.integer(50, 1_500),
    }))
    yield { member: random.oneOf(members), faults }
  }
}

type Fault = (random: SeededRandom, event: number) => Omit<FaultAct, 'lastsMs'>

const FAULTS: readonly Fault[] = [
  (random) => ({ rules: [`${random.oneOf(CALLS)} rv ${random.oneOf(RETURN_VALUES)}${how(random)}`] }),
  (random) => ({ rules: [`* rv ${random.oneOf(RETURN_VALUES)}`] }),
  (random) => ({
    rules: [`${random.oneOf(CALLS)} delay ${random.integer(1, 50) * 1_000}-100000${how(random)}`],
  }),
  (random) => ({ rules: [`${random.oneOf(CALLS)} hang${how(random)}`] }),
  (random) => ({ rules: [`${random.oneOf(CALLS)} crash${how(random)}`] }),
  (random) => ({ rules: [`${random.oneOf(CALLS)} exit ${random.integer(0, 3)}${how(random)}`] }),
  (random) => ({ rules: [`C_Sign ${random.oneOf(['wrong', 'short'])}${how(random)}`] }),
  (random) => ({ rules: [`C_Sign rate ${random.integer(1, 20) * 10}`] }),
  (random) => ({ rules: [`C_OpenSession cap ${random.integer(0, 3)}`] }),
  () => ({ rules: ['* removed'] }),
  (_random, event) => ({ rules: [`* reboot ${event}`] }),
  (_random, event) => ({ rules: [`* reboot ${event}`, '* removed'] }),
  (_random, event) => ({ rules: [`* logout ${event}`] }),
  () => ({ rules: [], signal: 'SIGKILL' }),
  () => ({ rules: [], signal: 'SIGSEGV' }),
]

const CALLS = ['C_SignInit', 'C_Sign', 'C_OpenSession', 'C_Login', 'C_FindObjects', 'C_Initialize', '*']

/** What an HSM in trouble says. Not the refusals of a PIN: they are final by design, and nothing would heal. */
const RETURN_VALUES = [
  ...['CKR_DEVICE_ERROR', 'CKR_DEVICE_REMOVED', 'CKR_DEVICE_MEMORY', 'CKR_GENERAL_ERROR'],
  ...['CKR_FUNCTION_FAILED', 'CKR_HOST_MEMORY', 'CKR_SESSION_HANDLE_INVALID', 'CKR_SESSION_CLOSED'],
  ...['CKR_SESSION_COUNT', 'CKR_USER_NOT_LOGGED_IN', 'CKR_TOKEN_NOT_PRESENT', 'CKR_TOKEN_NOT_RECOGNIZED'],
  ...['CKR_OBJECT_HANDLE_INVALID', 'CKR_KEY_HANDLE_INVALID', 'CKR_OPERATION_ACTIVE'],
  ...['CKR_CRYPTOKI_NOT_INITIALIZED'],
]

/** Always, a few times, or now and then. */
function how(random: SeededRandom): string {
  return random.oneOf(['', ` times ${random.integer(1, 10)}`, ` probability 0.${random.integer(1, 9)}`])
}

/** mulberry32 (Tommy Ettinger, public domain): good enough to choose faults, and the same everywhere. */
class SeededRandom {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Both ends included. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1))
  }

  oneOf<T>(items: readonly T[]): T {
    const item = items[this.integer(0, items.length - 1)]
    if (item === undefined) throw new Error('nothing to choose from')
    return item
  }

  /** In [0, 1). */
  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
