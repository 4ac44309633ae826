/** One column as information_schema describes it, the same shape for MySQL and MariaDB. */
export interface ColumnDefinition {
  readonly name: string;
  /** 1-based. */
  readonly position: number;
  /** DATA_TYPE in lower case: `int`, `varchar`, `enum`, `json`, `uuid`, `inet6`, `vector`, `geometry` … */
  readonly dataType: string;
  /** COLUMN_TYPE verbatim: `int unsigned`, `enum('a','b')`. */
  readonly columnType: string;
  readonly unsigned: boolean;
  readonly zerofill: boolean;
  readonly nullable: boolean;
  /** True if an INSERT may leave the column out: a default, AUTO_INCREMENT, or NULL allowed. */
  readonly hasDefault: boolean;
  /** Characters; null for types without a length. */
  readonly characterMaximumLength: number | null;
  /** Bytes; null for types without a length. */
  readonly characterOctetLength: number | null;
  readonly numericPrecision: number | null;
  readonly numericScale: number | null;
  /** Digits of fractional seconds, 0 to 6; null for types without them. */
  readonly datetimePrecision: number | null;
  readonly characterSet: string | null;
  readonly collation: string | null;
  /** Members of an ENUM or SET in order; empty for other types. */
  readonly members: readonly string[];
  readonly generated: boolean;
  readonly autoIncrement: boolean;
  readonly invisible: boolean;
  /** JSON, also as MariaDB's longtext with a json_valid check. */
  readonly json: boolean;
  /** Spatial reference system of a spatial column; null if not restricted. */
  readonly srid: number | null;
}

export interface IndexDefinition {
  readonly name: string;
  readonly unique: boolean;
  /** Columns in order; `prefix` is the indexed length in characters or null for the whole column; `column` null for an expression. */
  readonly parts: readonly { readonly column: string | null; readonly prefix: number | null }[];
  readonly type: string;
}

export interface ForeignKeyDefinition {
  readonly name: string;
  /** The referencing (child) side. */
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly referencedSchema: string;
  readonly referencedTable: string;
  readonly referencedColumns: readonly string[];
  readonly onDelete: string;
  readonly onUpdate: string;
}

export interface TriggerDefinition {
  readonly name: string;
  readonly timing: string;
  readonly event: string;
}

/** What the loader needs to know of a table, read once at the start of a run. */
export interface TableDefinition {
  readonly schema: string;
  readonly name: string;
  readonly engine: string;
  /** CREATE_TIME as the server prints it; changes when the table is made anew. */
  readonly createTime: string | null;
  /** SHOW CREATE TABLE without its AUTO_INCREMENT counter. */
  readonly createStatement: string;
  readonly collation: string | null;
  readonly systemVersioned: boolean;
  readonly partitioned: boolean;
  readonly columns: readonly ColumnDefinition[];
  readonly indexes: readonly IndexDefinition[];
  /** Foreign keys of this table to others. */
  readonly foreignKeys: readonly ForeignKeyDefinition[];
  /** Foreign keys of other tables to this one. */
  readonly referencedBy: readonly ForeignKeyDefinition[];
  readonly triggers: readonly TriggerDefinition[];
}
